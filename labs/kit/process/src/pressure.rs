//! Measures how much of a check's time this machine took away: the check's programs waited for
//! a processor that other programs used, or for a disk that other programs kept busy.
//!
//! Load that a program causes itself does not count, so a program that spins is still judged.
//! Other programs account for a share of the time that the check's programs wait for a
//! processor: their share of all processor time. A slow disk is slow for every program, so we
//! time a small write of our own.
//!
//! Linux reports how long each thread waited (`/proc/PID/task/TID/schedstat`). Other systems,
//! such as macOS, do not; there, we measure how late a timer is.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, DirEntry, File};
use std::io::{Seek, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// How often to look at the machine. A look at a hundred threads takes 1 ms.
const TICK: Duration = Duration::from_millis(200);
/// How often to write to the disk.
const WRITE_EVERY: Duration = Duration::from_millis(500);
/// A slow disk without other load takes less than this for a small write.
const SLOW_WRITE: Duration = Duration::from_millis(100);
/// `/proc/stat` counts in hundredths of a second, whatever the kernel's own clock.
const STAT_UNIT_MS: u64 = 10;

/// Looks at the machine until it is dropped; one serves all checks of a run.
#[derive(Debug, Clone)]
pub struct Pressure(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    watches: Mutex<Vec<Weak<Watch>>>,
    disk: Mutex<Disk>,
}

/// How slow the disk is.
#[derive(Debug, Default)]
struct Disk {
    /// How much longer than [`SLOW_WRITE`] the finished writes took, in total.
    late: Duration,
    /// When the current write began.
    writing: Option<Instant>,
}

impl Disk {
    fn late(&self, now: Instant) -> Duration {
        let written = self
            .writing
            .map(|since| now.saturating_duration_since(since));
        self.late + written.unwrap_or_default().saturating_sub(SLOW_WRITE)
    }
}

/// What is known of the machine during one check.
#[derive(Debug, Default)]
pub struct Watch {
    programs: Mutex<Vec<i32>>,
    /// The load of these processes and their children is the check's own.
    families: Mutex<Vec<i32>>,
    samples: Mutex<Vec<Sample>>,
}

/// What happened from one look to the next.
#[derive(Debug, Clone, Copy)]
struct Sample {
    from: Instant,
    to: Instant,
    /// The longest time that one thread of the check's programs waited for a processor.
    waited: Duration,
    /// The processor time of all programs of the run.
    ours: Duration,
    /// The processor time of all other programs.
    others: Duration,
    disk: Duration,
}

/// How much of a span of time the machine took away.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Lost {
    /// Waiting for a processor.
    pub processor: Duration,
    /// Waiting for the disk.
    pub disk: Duration,
}

impl Lost {
    /// Both together.
    #[must_use]
    pub fn all(self) -> Duration {
        self.processor + self.disk
    }
}

impl Pressure {
    /// Starts to look at the machine, and to write to a file in `dir`.
    pub fn start(dir: &Path) -> Self {
        let shared = Arc::new(Shared::default());
        let weak = Arc::downgrade(&shared);
        in_background("pressure", move || look(&weak));
        // A failing disk is reported where a check needs it.
        if let Ok(file) = File::create(dir.join("disk-probe")) {
            let weak = Arc::downgrade(&shared);
            in_background("disk-probe", move || write(&weak, file));
        }
        Self(shared)
    }

    /// Starts to record what one check has to know.
    pub fn watch(&self) -> Arc<Watch> {
        let watch = Arc::new(Watch::default());
        let own = std::process::id().cast_signed();
        watch.add(own);
        watch.add_family(own);
        lock(&self.0.watches).push(Arc::downgrade(&watch));
        watch
    }
}

impl Watch {
    /// Counts this process among the check's programs, until it ends.
    pub fn add(&self, pid: i32) {
        lock(&self.programs).push(pid);
    }

    /// Counts what this process and its children use as the check's own.
    pub fn add_family(&self, pid: i32) {
        lock(&self.families).push(pid);
    }

    /// What the machine took away between two moments.
    pub fn lost(&self, from: Instant, to: Instant) -> Lost {
        let samples = lock(&self.samples);
        let [mut waited, mut ours, mut others, mut disk] = [0.0; 4];
        let during = samples.iter().rev().take_while(|sample| sample.to > from);
        for sample in during.filter(|sample| sample.from < to) {
            let inside = sample.to.min(to) - sample.from.max(from);
            let part = inside.as_secs_f64() / (sample.to - sample.from).as_secs_f64();
            waited += part * sample.waited.as_secs_f64();
            ours += part * sample.ours.as_secs_f64();
            others += part * sample.others.as_secs_f64();
            disk += part * sample.disk.as_secs_f64();
        }
        // The thread that looks also waits for a processor, and can be seconds late.
        let seen = samples.last().map_or(to, |last| last.to.max(from));
        let unseen = to.saturating_duration_since(seen).saturating_sub(2 * TICK);
        let share = if others > 0.0 {
            others / (ours + others)
        } else {
            0.0
        };
        Lost {
            processor: Duration::from_secs_f64(waited * share) + unseen,
            disk: Duration::from_secs_f64(disk),
        }
    }
}

/// If no thread can be started, nothing is known of the machine.
fn in_background(name: &str, task: impl FnOnce() + Send + 'static) {
    let _ = thread::Builder::new().name(name.to_owned()).spawn(task);
}

/// A panic under these locks leaves no half-done state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a little to the disk, again and again, and adds up the excess time.
fn write(shared: &Weak<Shared>, mut file: File) {
    loop {
        thread::sleep(WRITE_EVERY);
        let Some(shared) = shared.upgrade() else {
            return;
        };
        lock(&shared.disk).writing = Some(Instant::now());
        let written = file
            .rewind()
            .and_then(|()| file.write_all(b"how long does this take?"));
        // A failed write took time, too.
        let _ = written.and_then(|()| file.sync_all());
        let mut disk = lock(&shared.disk);
        disk.late = disk.late(Instant::now());
        disk.writing = None;
    }
}

/// Looks at the machine, again and again, and tells every watch.
fn look(shared: &Weak<Shared>) {
    let mut last = Look::now(&[], &Mutex::default());
    loop {
        thread::sleep(TICK);
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let mut watches = lock(&shared.watches);
        watches.retain(|watch| watch.strong_count() > 0);
        let watches: Vec<_> = watches.iter().filter_map(Weak::upgrade).collect();
        let look = Look::now(&watches, &shared.disk);
        for watch in watches {
            let sample = last.until(&look, &lock(&watch.programs));
            lock(&watch.samples).push(sample);
        }
        last = look;
    }
}

/// What the system says at one moment.
struct Look {
    at: Instant,
    programs: HashMap<i32, Program>,
    /// The processor time of all programs of the run, including those that have ended.
    ours: Duration,
    machine: Option<Machine>,
    disk: Duration,
}

/// How long each thread of a program has waited for a processor since it started.
type Program = HashMap<OsString, Duration>;

/// The processor time of all programs since the machine started.
#[derive(Debug, Clone, Copy)]
struct Machine {
    busy: Duration,
    /// The time of each processor that the host gave to another virtual machine.
    stolen: Duration,
}

impl Look {
    fn now(watches: &[Arc<Watch>], disk: &Mutex<Disk>) -> Self {
        let at = Instant::now();
        let all = |of: fn(&Watch) -> &Mutex<Vec<i32>>| -> HashSet<i32> {
            let pids = watches.iter().flat_map(|watch| lock(of(watch)).clone());
            pids.collect()
        };
        let programs = all(|watch| &watch.programs);
        let families = all(|watch| &watch.families);
        let ours = families.iter().map(|pid| used(*pid, &programs)).sum();
        let waits = programs.iter().filter_map(|pid| Some((*pid, waits(*pid)?)));
        Self {
            at,
            programs: waits.collect(),
            ours,
            machine: fs::read_to_string("/proc/stat")
                .ok()
                .and_then(|text| machine(&text)),
            disk: lock(disk).late(at),
        }
    }

    /// What happened from this look to the next one, to a check with these programs.
    fn until(&self, next: &Self, programs: &[i32]) -> Sample {
        let length = next.at - self.at;
        let ours = next.ours.saturating_sub(self.ours);
        let longest = programs.iter().map(|pid| self.waited(next, *pid)).max();
        let (waited, others) = match self.machine.zip(next.machine) {
            Some((before, after)) => (
                longest.unwrap_or_default() + (after.stolen.saturating_sub(before.stolen)),
                (after.busy.saturating_sub(before.busy)).saturating_sub(ours),
            ),
            // A timer is late; the cause is not known.
            None => (length.saturating_sub(TICK), length),
        };
        Sample {
            from: self.at,
            to: next.at,
            waited: waited.min(length),
            ours,
            others,
            disk: next.disk.saturating_sub(self.disk),
        }
    }

    /// The longest time that one thread of a program waited until the next look.
    fn waited(&self, next: &Self, pid: i32) -> Duration {
        let (Some(before), Some(after)) = (self.programs.get(&pid), next.programs.get(&pid)) else {
            return Duration::ZERO;
        };
        let waits = after.iter().map(|(id, waited)| {
            let before = before.get(id).copied().unwrap_or_default();
            waited.saturating_sub(before)
        });
        waits.max().unwrap_or_default()
    }
}

/// Nothing for a program that has ended, or where the system does not say.
fn waits(pid: i32) -> Option<Program> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let threads = tasks.filter_map(|task| {
        let task = task.ok()?;
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        Some((task.file_name(), waited(&text)?))
    });
    Some(threads.collect())
}

/// Reads a `schedstat`: nanoseconds on a processor, nanoseconds of waiting for one, turns.
fn waited(text: &str) -> Option<Duration> {
    let waited = text.split_whitespace().nth(1)?;
    Some(Duration::from_nanos(waited.parse().ok()?))
}

/// The processor time of a process and of every process that it has started.
fn used(pid: i32, programs: &HashSet<i32>) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    let own = stat.ok().and_then(|text| times(&text)).unwrap_or_default();
    // Programs under check have many threads but start no other programs.
    let tasks = match programs.contains(&pid) && pid != std::process::id().cast_signed() {
        true => None,
        false => fs::read_dir(format!("/proc/{pid}/task")).ok(),
    };
    let children = |task: DirEntry| fs::read_to_string(task.path().join("children"));
    let children = tasks
        .into_iter()
        .flatten()
        .filter_map(|task| children(task.ok()?).ok());
    let children = children.map(|pids| -> Duration {
        let pids = pids.split_whitespace().filter_map(|pid| pid.parse().ok());
        pids.map(|pid| used(pid, programs)).sum()
    });
    own + children.sum::<Duration>()
}

/// Reads a process's `stat`: its processor time, and that of its children that have ended.
/// (`man 5 proc_pid_stat`, 14 to 17. The name, 2, may hold anything.)
fn times(text: &str) -> Option<Duration> {
    let (_, rest) = text.rsplit_once(')')?;
    let times = rest.split_whitespace().skip(14 - 3).take(4);
    let times = times.map(|time| time.parse::<u64>().ok());
    Some(Duration::from_millis(
        STAT_UNIT_MS * times.sum::<Option<u64>>()?,
    ))
}

/// Reads `/proc/stat`: a line `cpu`, the sum, then one for each processor: user, nice, system,
/// idle, iowait, irq, softirq, steal. (`man 5 proc_stat`)
fn machine(text: &str) -> Option<Machine> {
    let sum = text.strip_prefix("cpu ")?.lines().next()?;
    let numbers: Vec<u64> = sum
        .split_whitespace()
        .map_while(|n| n.parse().ok())
        .collect();
    let &[user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = &numbers[..] else {
        return None;
    };
    let processors = text.lines().skip(1).filter(|line| line.starts_with("cpu"));
    let processors = u32::try_from(processors.count()).ok()?.max(1);
    let time = |count: u64| Duration::from_millis(STAT_UNIT_MS * count);
    Some(Machine {
        busy: time(user + nice + system + irq + softirq + steal),
        stolen: time(steal) / processors,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A watch that saw these shares of four seconds, one after the other: how much its
    /// programs waited, how much they and others used, how long the disk took too long.
    fn watch(from: Instant, seconds: [[f64; 4]; 4]) -> Watch {
        let samples = (0..).zip(seconds).map(|(nth, shares)| {
            let [waited, ours, others, disk] = shares.map(Duration::from_secs_f64);
            Sample {
                from: from + SECOND * nth,
                to: from + SECOND * (nth + 1),
                waited,
                ours,
                others,
                disk,
            }
        });
        let watch = Watch::default();
        lock(&watch.samples).extend(samples);
        watch
    }

    fn lost(watch: &Watch, from: Instant, to: Instant) -> [f64; 2] {
        let lost = watch.lost(from, to);
        [lost.processor, lost.disk].map(|time| (time.as_secs_f64() * 100.0).round() / 100.0)
    }

    #[test]
    fn what_others_took_is_lost_and_what_we_took_ourselves_is_not() {
        let began = Instant::now();
        let end = began + 4 * SECOND;
        let idle = watch(began, [[0.01, 0.2, 0.02, 0.0]; 4]);
        assert_eq!(lost(&idle, began, end), [0.0, 0.0]);
        let starved = watch(began, [[0.8, 0.2, 1.8, 0.0]; 4]);
        assert_eq!(lost(&starved, began, end), [2.88, 0.0]);
        let spinning = watch(began, [[0.8, 1.96, 0.04, 0.0]; 4]);
        assert_eq!(lost(&spinning, began, end), [0.06, 0.0]);
        let nothing = watch(began, [[0.0; 4]; 4]);
        assert_eq!(lost(&nothing, began, end), [0.0, 0.0]);
    }

    #[test]
    fn only_what_was_lost_between_two_moments_counts() {
        let began = Instant::now();
        let [free, busy] = [[0.0, 0.1, 0.0, 0.0], [1.0, 0.0, 2.0, 0.4]];
        let watch = watch(began, [free, busy, busy, free]);
        let at = |tenths: u32| began + SECOND * tenths / 10;
        assert_eq!(lost(&watch, at(0), at(10)), [0.0, 0.0]);
        assert_eq!(lost(&watch, at(10), at(30)), [2.0, 0.8]);
        assert_eq!(lost(&watch, at(15), at(20)), [0.5, 0.2]);
    }

    #[test]
    fn nobody_has_looked_for_long() {
        let began = Instant::now();
        let watch = watch(began, [[0.0, 0.1, 0.0, 0.0]; 4]);
        let after = began + 10 * SECOND;
        assert_eq!(lost(&watch, began, after), [5.6, 0.0]);
        assert_eq!(lost(&watch, began + 9 * SECOND, after), [0.6, 0.0]);
    }

    #[test]
    fn what_linux_says_is_understood() {
        let ms = Duration::from_millis;
        assert_eq!(waited("1000000 2000000 33\n"), Some(ms(2)));
        assert_eq!(waited(""), None);
        let stat = "7 (a) name) S 1 7 7 0 -1 4194560 99 98 0 0 1 2 3 4 20 0 1 0 62951 0";
        assert_eq!(times(stat), Some(ms(100)));
        let text = "cpu  1 2 3 400 500 6 7 8 0 0\ncpu0 1 2\ncpu1 1 2\nintr 5 0\n";
        let machine = machine(text).map(|machine| [machine.busy, machine.stolen]);
        assert_eq!(machine, Some([ms(270), ms(40)]));
    }
}
