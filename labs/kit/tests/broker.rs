//! The private node, tried against the installed RabbitMQ, in folders of its own so that
//! a developer's broker is left alone.

use kit::broker::Broker;
use kit::paths::Paths;
use std::time::Instant;

fn main() {
    kit::internal::dispatch();
    let mut paths = Paths::find().unwrap();
    if let Some(t) = std::env::var_os("T") {
        paths.target = t.into();
    }
    actix_web::rt::System::new().block_on(async {
        let t = Instant::now();
        let b = Broker::acquire(&paths, &|m| println!("{m}")).await;
        println!("{:?} {:?}", t.elapsed(), b);
        let b = match b {
            Ok(b) => b,
            Err(e) => {
                println!("{e}");
                return;
            }
        };
        for _ in 0..5 {
            let t = Instant::now();
            let _b = Broker::acquire(&paths, &|m| println!("{m}")).await.unwrap();
            println!("warm {:?}", t.elapsed());
        }
        for i in 0..5 {
            let t = Instant::now();
            b.create_vhost(&format!("x/{i}")).await.unwrap();
            let c = t.elapsed();
            println!("{:?}", b.queue(&format!("x/{i}"), "q").await.unwrap());
            b.delete_vhost(&format!("x/{i}")).await.unwrap();
            println!("vhost {c:?} {:?}", t.elapsed());
        }
    });
}
