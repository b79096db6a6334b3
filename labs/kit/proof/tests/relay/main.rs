//! The wiretap and the HTTP relay between real sockets, and before a real broker.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod broker;
mod http;
mod link;
mod traps;

use libtest_mimic::Arguments;
use proof::trial;

fn main() {
    // The broker's keeper is this very program.
    ::broker::dispatch();
    let trials = vec![
        trial("everything_is_journaled", broker::everything_is_journaled),
        trial("lost_publish", broker::lost_publish),
        trial("lost_confirm", broker::lost_confirm),
        trial("large_message", broker::large_message),
        trial("many_messages", broker::many_messages),
        trial("passes_unchanged", link::passes_unchanged),
        trial("short_greeting", link::short_greeting),
        trial("cut", link::cut),
        trial("cut_as_one_connects", link::cut_as_one_connects),
        trial("refuse", link::refuse),
        trial("refuse_for_a_moment", link::refuse_for_a_moment),
        trial("port_taken_meanwhile", link::port_taken_meanwhile),
        trial("port_is_not_ephemeral", link::port_is_not_ephemeral),
        trial("turn_away", link::turn_away),
        trial("delay", link::delay),
        trial("at_once", link::at_once),
        trial("while_the_check_is_busy", link::while_the_check_is_busy),
        trial("black_hole", link::black_hole),
        trial("black_hole_hides_the_end", link::black_hole_hides_the_end),
        trial("half_close", link::half_close),
        trial("back_pressure", link::back_pressure),
        trial("dropped", link::dropped),
        trial("no_broker", link::no_broker),
        trial("trap_on_a_delayed_link", traps::trap_on_a_delayed_link),
        trial("traps_spring_once", traps::traps_spring_once),
        trial("held_frame", traps::held_frame),
        trial("stopped_after_the_second", traps::stopped_after_the_second),
        trial("held_and_cut", traps::held_and_cut),
        trial("http_pass", http::pass),
        trial("http_split_bodies", http::split_bodies),
        trial("http_lost", http::lost),
        trial("http_late", http::late),
        trial("http_status", http::status),
        trial("http_server_down", http::server_down),
        trial("http_chunked", http::chunked),
        trial("http_until_close", http::until_close),
        trial("http_no_body", http::no_body),
        trial("http_idle_server_closes", http::idle_server_closes),
        trial("http_client_gives_up", http::client_gives_up),
        trial("http_held_response", http::held_response),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
