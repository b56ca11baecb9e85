//! Screens of several sizes, as text.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

use super::*;

const SEEN: &str = include_str!("seen.json");

fn state() -> State {
    let mut state = State::new("127.0.0.1:8001".into());
    state.see(serde_json::from_str(SEEN).unwrap());
    state
}

fn drawn(state: &mut State, width: u16, height: u16, theme: &Theme) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, theme)).unwrap();
    terminal
}

fn lines(terminal: &Terminal<TestBackend>) -> Vec<String> {
    let buffer = terminal.backend().buffer();
    let width = usize::from(buffer.area.width);
    let cells: Vec<&str> = buffer.content.iter().map(|cell| cell.symbol()).collect();
    cells.chunks(width).map(|line| line.concat()).collect()
}

fn screen(state: &mut State, width: u16, height: u16) -> String {
    lines(&drawn(state, width, height, &Theme::with_colours())).join("\n")
}

fn press(state: &mut State, code: KeyCode) {
    state.press(KeyEvent::new(code, KeyModifiers::NONE));
}

#[test]
fn a_narrow_terminal_shows_the_figures_and_one_page() {
    let mut state = state();
    let text = screen(&mut state, 80, 24);
    for part in [
        "fanfare 0.2.0 ready at 127.0.0.1:8001, up 1 d 0 h",
        "in 812 messages/s   out 401.2k deliveries/s, 38.3 MiB/s, 2.0 a send",
        "12.0k connections, 3 opening (12/s), 4 stalled",
        "0 ████······  41%",
        "1 ·········· stuck",
        "! core 1 has not turned for 3000 ms (and 1 more: 5)",
        "[1 topics (812)]",
        "▼ msgs/s",
        "news/sport",
        "512.0 KiB",
        "q quit",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("203.0.113.7"), "{text}");
    press(&mut state, KeyCode::Tab);
    let text = screen(&mut state, 80, 24);
    assert!(text.contains("203.0.113.7:51234"), "{text}");
    press(&mut state, KeyCode::Char('5'));
    let text = screen(&mut state, 80, 24);
    assert!(text.contains("docs/operating.md#watch"), "{text}");
}

#[test]
fn a_large_terminal_shows_everything_at_once() {
    let text = screen(&mut state(), 160, 50);
    for part in [
        "[1 topics (812)]",
        "news/sport",
        "203.0.113.7:51234",
        "centrifugo_protobuf".replace("centrifugo_", "c_").as_str(),
        "connections_max",
        "lag: too far behind the topic",
        "Its thread is held up.",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn what_is_not_known_yet_is_a_dash_and_a_tiny_terminal_no_crash() {
    let mut state = State::new("here".into());
    let mut seen: serde_json::Value = serde_json::from_str(SEEN).unwrap();
    seen["traffic"]["deliveries"]["per_s"] = serde_json::Value::Null;
    seen["topics"]["shown"][0]["messages_per_s"] = serde_json::Value::Null;
    seen["cores"][0]["load"] = serde_json::Value::Null;
    seen["process"]["load"] = serde_json::Value::Null;
    seen["slowest"] = serde_json::json!([]);
    seen["warnings"] = serde_json::json!([]);
    state.see(serde_json::from_value(seen).unwrap());
    let text = screen(&mut state, 80, 24);
    assert!(text.contains("out – deliveries/s"), "{text}");
    assert!(text.contains("nothing to warn of"), "{text}");
    for (width, height) in [(1, 1), (40, 10), (39, 50), (200, 11), (300, 100)] {
        for page in '1'..='5' {
            press(&mut state, KeyCode::Char(page));
            screen(&mut state, width, height);
        }
    }
}

#[test]
fn scrolling_ends_with_what_there_is() {
    let mut state = state();
    let mut seen: serde_json::Value = serde_json::from_str(SEEN).unwrap();
    let topic = seen["topics"]["shown"][0].clone();
    let named = |number: u32| {
        let mut topic = topic.clone();
        topic["name"] = format!("topic-{number:03}").into();
        topic
    };
    seen["topics"]["shown"] = (0..100).map(named).collect();
    state.see(serde_json::from_value(seen).unwrap());
    for _ in 0..30 {
        press(&mut state, KeyCode::PageDown);
    }
    let text = screen(&mut state, 80, 24);
    assert!(
        text.contains("topic-099") && !text.contains("topic-000"),
        "{text}"
    );
    assert!(state.scroll < 100);
    press(&mut state, KeyCode::Home);
    assert!(screen(&mut state, 80, 24).contains("topic-000"));
}

#[test]
fn warnings_that_wrap_are_scrolled_to_their_end() {
    let mut state = state();
    let mut seen: serde_json::Value = serde_json::from_str(SEEN).unwrap();
    let warning = serde_json::json!({
        "level": "warning",
        "says": format!("something {}", "and more ".repeat(40)),
        "next": format!("do this {}", "and that ".repeat(40)),
        "doc": "docs/one.md",
    });
    let mut last = warning.clone();
    last["doc"] = "docs/last.md".into();
    seen["warnings"] = [vec![warning; 5], vec![last]].concat().into();
    state.see(serde_json::from_value(seen).unwrap());
    press(&mut state, KeyCode::Char('5'));
    assert!(!screen(&mut state, 60, 20).contains("docs/last.md"));
    for _ in 0..30 {
        press(&mut state, KeyCode::PageDown);
        screen(&mut state, 60, 20);
    }
    let text = screen(&mut state, 60, 20);
    assert!(text.contains("docs/last.md"), "{text}");
    // No further: the page is still full.
    assert!(text.contains("and that"), "{text}");
}

#[test]
fn what_is_typed_filters_and_a_pause_holds_still() {
    let mut state = state();
    press(&mut state, KeyCode::Tab);
    press(&mut state, KeyCode::Char('/'));
    for letter in "198.51".chars() {
        press(&mut state, KeyCode::Char(letter));
    }
    let text = screen(&mut state, 80, 24);
    assert!(text.contains("filter: 198.51"), "{text}");
    assert!(
        text.contains("198.51.100.2:9") && !text.contains("203.0.113.7"),
        "{text}"
    );
    press(&mut state, KeyCode::Enter);
    press(&mut state, KeyCode::Char('p'));
    let mut seen: serde_json::Value = serde_json::from_str(SEEN).unwrap();
    seen["version"] = "9.9.9".into();
    state.see(serde_json::from_value(seen).unwrap());
    state.miss("connection refused");
    let text = screen(&mut state, 120, 24);
    assert!(
        text.contains("fanfare 0.2.0") && text.contains("PAUSED"),
        "{text}"
    );
    assert!(text.contains("NO ANSWER: connection refused"), "{text}");
}

#[test]
fn without_colours_none_is_used() {
    let colours = |theme: &Theme| -> usize {
        let terminal = drawn(&mut state(), 160, 50, theme);
        let cells = terminal.backend().buffer().content.iter();
        cells
            .filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
            .count()
    };
    assert!(colours(&Theme::with_colours()) > 0);
    assert_eq!(colours(&Theme::without_colours()), 0);
}
