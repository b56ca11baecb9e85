//! What the scribe is asked while it sleeps or gathers.

use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::*;

/// Nothing that is waited for ends by itself.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);
/// What is broken is seen after this.
const PATIENCE: Duration = Duration::from_secs(60);

fn scribe(keeping: &Arc<Keeping>) -> Receiver<Todo> {
    let (told, todo) = channel();
    let keeping = keeping.clone();
    thread::spawn(move || told.send(keeping.wait(Instant::now() + FOR_EVER, FOR_EVER)));
    todo
}

fn await_attention(keeping: &Keeping, attention: Attention) {
    while keeping.lock().attention != attention {
        thread::yield_now();
    }
}

#[test]
fn what_somebody_waits_for_ends_the_gathering_at_once() {
    type Ask = (fn(&Keeping), fn(&Todo) -> bool);
    let asks: [Ask; 4] = [
        (Keeping::want_sync, |todo| todo.sync),
        (Keeping::look_at_all, |todo| todo.look_at_all),
        (Keeping::resume, |todo| todo.resume),
        (Keeping::stop, |todo| todo.stop),
    ];
    for (ask, is_told) in asks {
        let keeping = Arc::new(Keeping::default());
        let todo = scribe(&keeping);
        await_attention(&keeping, Attention::Waiting);
        keeping.post(&"a".into());
        await_attention(&keeping, Attention::Gathering);
        keeping.post(&"b".into());
        keeping.note_unwanted(&"c".into(), 7);
        assert!(todo.try_recv().is_err(), "it gathers");
        ask(&keeping);
        let todo = todo.recv_timeout(PATIENCE).expect("it does not wait");
        assert!(is_told(&todo));
        assert_eq!(todo.topics, ["a".into(), "b".into()]);
        assert_eq!(todo.unwanted, [("c".into(), 7)]);
    }
}

#[test]
fn nothing_that_is_posted_while_it_gathers_is_lost() {
    const POSTERS: usize = 4;
    const POSTS: usize = 2_000;
    let keeping = Arc::new(Keeping::default());
    let (told, all) = channel();
    let scribe = keeping.clone();
    thread::spawn(move || {
        let mut all = Vec::new();
        loop {
            let todo = scribe.wait(Instant::now() + FOR_EVER, FOR_EVER);
            all.extend(todo.topics);
            if todo.stop {
                return told.send(all);
            }
        }
    });
    thread::scope(|scope| {
        for poster in 0..POSTERS {
            let keeping = &keeping;
            scope.spawn(move || {
                for post in 0..POSTS {
                    keeping.post(&format!("{poster}-{post}").into());
                    if fastrand::u8(..) < 30 {
                        keeping.want_sync();
                    }
                }
            });
        }
    });
    keeping.stop();
    let mut all = all.recv_timeout(PATIENCE).expect("it does not wait");
    all.sort_unstable();
    let posters = 0..POSTERS;
    let posts = posters.flat_map(|poster| (0..POSTS).map(move |post| (poster, post)));
    let mut posted: Vec<Arc<str>> = posts
        .map(|(poster, post)| format!("{poster}-{post}").into())
        .collect();
    posted.sort_unstable();
    assert!(all == posted, "{} of {}", all.len(), posted.len());
}
