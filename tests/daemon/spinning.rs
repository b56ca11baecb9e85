//! Cores that look out for what comes next before they sleep.

use crate::common::{Daemon, eventually, pass};

/// Seconds that cores have spun.
fn spun_s(daemon: &Daemon) -> f64 {
    let (_, text) = daemon.ask("GET /metrics");
    let lines = text.lines();
    let values = lines.filter_map(|line| line.strip_prefix("fanfare_spin_seconds_total{"));
    let values = values.map(|rest| rest.rsplit(' ').next().expect("a value"));
    values
        .map(|value| value.parse::<f64>().expect("a number"))
        .sum()
}

#[test]
fn a_core_spins_after_work_and_lets_newcomers_in_meanwhile() {
    let daemon = Daemon::start(&["--spin-us", "1000000"]);
    for _ in 0..20 {
        let (mut speaker, mut listener) = (daemon.connect("/spin"), daemon.connect("/spin"));
        for text in ["a", "b", "c"] {
            pass(&mut speaker, &mut listener, text);
        }
    }
    assert!(spun_s(&daemon) > 0.0);
}

#[test]
fn a_core_without_work_stops_spinning_and_one_that_may_not_never_does() {
    let daemon = Daemon::start(&["--spin-us", "2000"]);
    let idle = Daemon::start(&[]);
    for daemon in [&daemon, &idle] {
        let (mut speaker, mut listener) = (daemon.connect("/spin"), daemon.connect("/spin"));
        pass(&mut speaker, &mut listener, "a");
    }
    // Each question of the admin's takes the cores nothing.
    eventually("it has spun, and sleeps", || {
        let spun = spun_s(&daemon);
        spun > 0.0 && (0..20).all(|_| spun_s(&daemon) == spun)
    });
    assert_eq!(spun_s(&idle), 0.0);
}
