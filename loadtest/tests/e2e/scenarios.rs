//! Every scenario runs to its end against a server, and says what it is for.

use std::net::TcpListener;

use crate::common::{Fault, result, serve, stderr, stdout, tool};

const QUICK: &str = "--settle 50ms --drain 500ms --quiet";

/// Runs a scenario against an honest server; its table, after checking that it passed.
fn passes(line: &str) -> String {
    let port = serve(Fault::None);
    let (scenario, options) = line.split_once(' ').unwrap();
    let url = format!("ws://127.0.0.1:{port}/");
    let own = std::process::id();
    let output = tool(&format!(
        "{scenario} --url {url} --pid {own} {QUICK} {options}"
    ));
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    text
}

#[test]
fn fanout_reports_the_servers_time_per_delivery() {
    let text = passes("fanout -n 8 -p 2 --size 2k --binary --window 4 --warmup 50ms -d 300ms");
    assert!(text.contains("µs/delivery"), "{text}");
}

#[test]
fn fanout_tells_when_the_last_subscriber_has_heard_where_one_thread_knows() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("fanout.json");
    let options = format!(
        "--echo --rate 200 --warmup 0s -d 300ms --json {}",
        json.display()
    );
    let last_of = |threads: u32| {
        let text = passes(&format!("fanout -n 8 --threads {threads} {options}"));
        let phase = result(&json).phases.pop().unwrap();
        (text, phase)
    };
    let (text, phase) = last_of(1);
    assert!(
        text.contains("the last subscriber has heard a message after, p99"),
        "{text}"
    );
    // One for each message, of which each has eight deliveries.
    assert_eq!(phase.last.count * 8, phase.latency.count);
    assert!(phase.last.max <= phase.latency.max + phase.latency.max / 50 && phase.last.p50 > 0);
    assert_eq!(last_of(2).1.last.count, 0);
}

#[test]
fn publishers_connect_where_they_are_told() {
    let (here, there) = (serve(Fault::None), serve(Fault::None));
    let run = |publishers: u16| {
        let urls =
            format!("--url ws://127.0.0.1:{here}/ --publish-url ws://127.0.0.1:{publishers}/");
        tool(&format!(
            "fanout {urls} -n 4 --rate 100 --warmup 0s -d 200ms {QUICK}"
        ))
    };
    assert_eq!(run(here).status.code(), Some(0));
    let apart = run(there);
    assert_eq!(apart.status.code(), Some(1));
    assert!(
        stdout(&apart).contains("deliveries were lost"),
        "{}",
        stdout(&apart)
    );
}

#[test]
fn more_threads_share_the_clients_and_hear_the_same() {
    let text = passes("fanout -n 9 -p 3 --threads 3 --window 4 --verify --warmup 0s -d 300ms");
    assert!(text.contains("12 handshakes"), "{text}");
}

#[test]
fn storm_tells_how_fast_all_are_back() {
    let text = passes("storm -n 20 --live 4 --rate 100 --quiet-time 300ms --rounds 2");
    assert!(text.contains("storm 2: all are back after"), "{text}");
    assert!(text.contains("storm 1: handshakes per second"), "{text}");
    assert!(text.contains("median of 2 storms"), "{text}");
    assert!(text.contains("time per handshake"), "{text}");
}

#[test]
fn idle_tells_the_memory_of_a_connection() {
    let text = passes("idle -n 20 -d 200ms");
    assert!(text.contains("user memory per connection"), "{text}");
    assert!(text.contains("kernel slab memory"), "{text}");
}

#[test]
fn idle_connections_hear_what_is_said_to_them_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("idle.json");
    let text = passes(&format!(
        "idle -n 20 -d 200ms --messages 3 --json {}",
        json.display()
    ));
    assert!(
        text.contains("message 3: all have heard it after"),
        "{text}"
    );
    // Twenty listeners, and the publisher hears itself: the test's server echoes.
    assert_eq!(result(&json).checks.steady.received, 3 * 21);
}

#[test]
fn slow_compares_the_others_before_and_during_the_stall() {
    let text = passes("slow -n 10 --share 20% --rate 100 -d 300ms");
    assert!(text.contains("readers that stalled"), "{text}");
    assert!(text.contains("some stall"), "{text}");
}

#[test]
fn readers_that_stall_from_the_start_hear_all_when_they_read_at_last() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("slow.json");
    let text = passes(&format!(
        "slow -n 10 --share 50% --rate 100 -d 300ms --from-start --json {}",
        json.display()
    ));
    assert!(text.contains("without them"), "{text}");
    let run = result(&json);
    let heard = |name: &str| {
        let phase = run.phases.iter().find(|phase| phase.name == name).unwrap();
        phase.delivered
    };
    assert!(heard("some stall") < heard("they read again"), "{text}");
    assert_eq!(run.checks.stalling.lost, 0);
    assert!(run.checks.stalling.received > 0);
}

#[test]
fn soak_has_clients_leave_and_return() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("soak.json");
    passes(&format!(
        "soak -n 10 --share 40% --churn 50 --rate 100 -d 500ms --json {}",
        json.display()
    ));
    let run = result(&json);
    let returned = &run.findings.iter().find(|f| f.0 == "clients that returned");
    assert!(returned.unwrap().1.parse::<u64>().unwrap() > 0);
    assert!(run.checks.coming.received > 0);
}

#[test]
fn ramp_finds_a_rate() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("ramp.json");
    let text = passes(&format!(
        "ramp -n 4 --from 50 --to 200 --p99 10s --step 200ms --json {}",
        json.display()
    ));
    // Which steps a busy machine holds is its affair: what is found is the best of them.
    let phases = result(&json).phases;
    let steps: Vec<_> = phases
        .iter()
        .filter_map(|step| Some((step.rate?, step)))
        .collect();
    let rates: Vec<f64> = steps.iter().map(|(rate, _)| *rate).collect();
    assert_eq!(rates[0], 50.0);
    let held = steps.iter().filter(|(rate, step)| {
        step.published_per_second >= 0.97 * rate && step.latency.p99 <= 10_000_000_000
    });
    let found = match held.map(|(rate, _)| *rate).reduce(f64::max) {
        Some(best) => format!("{best} messages per second"),
        None => "none: even 50 per second misses the bound".to_owned(),
    };
    assert!(text.contains(&found), "{rates:?}, {found}: {text}");
}

#[test]
fn two_results_compare_and_a_loss_can_fail() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("a.json");
    let path = json.display();
    passes(&format!("fanout -n 4 --warmup 0s -d 200ms --json {path}"));
    let same = tool(&format!("compare {path} {path} --fail-over 1"));
    assert_eq!(same.status.code(), Some(0));
    assert!(stdout(&same).contains("fanout: p99"));

    let mut worse = result(&json);
    for phase in &mut worse.phases {
        phase.latency.p99 *= 3;
    }
    let other = folder.path().join("b.json");
    std::fs::write(&other, serde_json::to_string(&worse).unwrap()).unwrap();
    let output = tool(&format!(
        "compare {path} {} --fail-over 50",
        other.display()
    ));
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("FAIL: fanout: p99 is worse by 200 %"));
}

#[test]
fn arguments_that_make_no_sense_exit_with_2_and_say_what_to_do() {
    for (line, hint) in [
        ("fanout --url ftp://127.0.0.1/", "must begin with ws://"),
        ("fanout --url ws://127.0.0.1:1/ -t 4", "{topic}"),
        (
            "fanout --url ws://127.0.0.1:1/ --size 3",
            "at least 24 bytes",
        ),
        (
            "fanout --url ws://127.0.0.1:1/ --rate 5 --window 5",
            "cannot be used with",
        ),
        ("fanout --url ws://127.0.0.1:1/ -d 10", "with its unit"),
        (
            "fanout --url ws://127.0.0.1:1/ --pid 2147483000",
            "no such process",
        ),
        (
            "idle --url ws://127.0.0.1:1/ --header nonsense",
            "'Name: value'",
        ),
        (
            "ramp --url ws://127.0.0.1:1/ --from 10 --to 5",
            "above --to",
        ),
        (
            "fanout --url ws://127.0.0.1:1/app/k --dialect pusher",
            "--app-secret-file FILE",
        ),
        (
            "recover --url ws://127.0.0.1:1/app/k --dialect pusher",
            "cannot ask for what it has missed",
        ),
        ("fanout", "--url"),
        ("party", "unrecognized subcommand"),
    ] {
        let output = tool(line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(
            stderr(&output).contains(hint),
            "{line}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_server_that_is_not_there_is_said_to_refuse() {
    // Bound and dropped: nobody else listens there.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let output = tool(&format!("fanout --url ws://127.0.0.1:{port}/ {QUICK}"));
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("Connection refused"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_result_that_cannot_be_written_is_told_before_the_run() {
    let output = tool("fanout --url ws://127.0.0.1:1/ --json /nonexistent/a.json");
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("cannot write /nonexistent/a.json"));
}

#[test]
fn a_file_that_is_no_result_is_not_compared() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    std::fs::write(&path, "{}").unwrap();
    let output = tool(&format!("compare {0} {0}", path.display()));
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("no result of --json"));
}
