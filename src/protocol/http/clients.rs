//! Clients that are known to break an agreement, told by what they call themselves.

use super::head::Request;

/// Whether the client compresses with its window kept between messages although it agreed
/// not to. WebKit of Safari 15.0 to 15.3 does, in every browser and web view of iOS 15.0 to
/// 15.3, and misreads what is compressed for it as well; 15.4 is mended.
///
/// A client that is not recognised here is closed once with 1007; its address then goes
/// without compression for a while.
pub(super) fn keeps_its_window(request: &Request<'_>) -> bool {
    let agents = request.values("user-agent");
    let mut agents = agents.filter_map(|value| str::from_utf8(value).ok());
    agents.any(|agent| {
        let safari = agent.contains(" Safari/") && names_15_to_15_3(agent, " Version/15.");
        safari || names_15_to_15_3(agent, " OS 15_")
    })
}

/// Whether a minor version of 0 to 3 stands behind `words`.
fn names_15_to_15_3(agent: &str, words: &str) -> bool {
    let Some((_, minor)) = agent.split_once(words) else {
        return false;
    };
    let digits = minor.bytes().take_while(u8::is_ascii_digit).count();
    digits == 1 && minor.as_bytes()[0] <= b'3'
}

#[cfg(test)]
mod tests {
    use super::super::head::{HeadLimits, parse};
    use super::*;

    fn is_known(agent: &str) -> bool {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: {agent}\r\n\r\n");
        let (request, _) = parse(head.as_bytes(), HeadLimits::default())
            .unwrap()
            .unwrap();
        keeps_its_window(&request)
    }

    #[test]
    fn webkit_15_to_15_3_is_known_and_nothing_else() {
        const MAC: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)";
        for agent in [
            format!("{MAC} Version/15.0 Safari/605.1.15"),
            format!("{MAC} Version/15.3 Safari/605.1.15"),
            format!("{MAC} Version/15.2.1 Safari/605.1.15"),
            // A web view, and another browser on the same engine.
            "Mozilla/5.0 (iPhone; CPU iPhone OS 15_1_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148".into(),
            "Mozilla/5.0 (iPad; CPU OS 15_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/98.0 Mobile/15E148 Safari/604.1".into(),
        ] {
            assert!(is_known(&agent), "{agent}");
        }
        for agent in [
            format!("{MAC} Version/15.4 Safari/605.1.15"),
            format!("{MAC} Version/15.10 Safari/605.1.15"),
            format!("{MAC} Version/14.1 Safari/605.1.15"),
            format!("{MAC} Version/17.3 Safari/605.1.15"),
            format!("{MAC} Chrome/140.0.0.0 Safari/537.36"),
            "Mozilla/5.0 (iPhone; CPU iPhone OS 15_4 like Mac OS X) AppleWebKit/605.1.15".into(),
            "Mozilla/5.0 (iPhone; CPU iPhone OS 16_3 like Mac OS X) AppleWebKit/605.1.15".into(),
            "Version/15.".into(),
            String::new(),
        ] {
            assert!(!is_known(&agent), "{agent}");
        }
    }
}
