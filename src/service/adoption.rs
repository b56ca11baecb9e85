//! Public listening sockets that another process of ours has had.
//!
//! The settings say what is listened on. A socket that is bound where they say is
//! kept, with who waits in it. For the others, the new ones are bound beside them, be
//! it one address in place of all or all in place of one: the other process may still
//! serve, and goes on if this one fails. Only when everything is this process's, do
//! the new ones begin to listen and the old ones end.

use std::os::fd::OwnedFd;

use socket2::SockRef;

use super::listen::Bound;
use crate::bind;
use crate::config::Place;

/// Where a socket is bound, and all sockets that are bound there.
type Group = (Place, Vec<OwnedFd>);

/// What is to be had of one kind: where TLS is spoken, or where it is not.
pub(super) struct Wanted<'a> {
    pub(super) places: &'a [Place],
    pub(super) tls: bool,
    /// Those of that kind that another process has had.
    pub(super) inherited: Vec<OwnedFd>,
}

/// Keeps, of the inherited sockets, those at the places that are wanted, and binds the other
/// places. All sockets that another process has, of any kind, are at `others`. A
/// `tolerant` start does without a place that cannot be had, if there is another one:
/// it has connections that would be lost.
///
/// # Errors
/// A sentence about a place that cannot be had.
pub(super) fn adopt(
    bound: &mut Bound,
    wanted: Wanted<'_>,
    others: &[Place],
    tolerant: bool,
) -> Result<(), String> {
    let Wanted {
        places,
        tls,
        inherited,
    } = wanted;
    let mut groups = group(inherited);
    for (place, kept) in places.iter().zip(find(&mut groups, places)) {
        let had = match kept {
            Some((place, sockets)) => bound.keep(place, tls, sockets),
            None => bound.open(place, tls, others),
        };
        match had {
            Ok(()) => {}
            Err(error) if tolerant => {
                tracing::error!("{error}");
                bound.lost += 1;
                bound.failed = Some(error.to_string());
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    let left = groups.into_iter().flat_map(|(_, sockets)| sockets);
    bound.leave(left.collect(), tls);
    Ok(())
}

fn group(sockets: Vec<OwnedFd>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for socket in sockets {
        let listens = SockRef::from(&socket).is_listener().unwrap_or(false);
        let Some(place) = bind::place_of(&socket).ok().flatten().filter(|_| listens) else {
            tracing::error!("a socket that was handed over does not listen: it is let go");
            continue;
        };
        match groups.iter_mut().find(|(known, _)| *known == place) {
            Some((_, sockets)) => sockets.push(socket),
            None => groups.push((place, vec![socket])),
        }
    }
    groups
}

/// Takes from `groups` those that are bound at `places`. A place with port 0 takes
/// any port of its address that no other place names.
fn find(groups: &mut Vec<Group>, places: &[Place]) -> Vec<Option<Group>> {
    let mut take = |fits: &dyn Fn(&Place) -> bool| {
        let at = groups.iter().position(|(place, _)| fits(place))?;
        Some(groups.swap_remove(at))
    };
    let mut found: Vec<_> = places
        .iter()
        .map(|wanted| take(&|place| place == wanted))
        .collect();
    for (wanted, found) in places.iter().zip(&mut found) {
        if found.is_none() {
            *found = take(&|place| wanted.admits(place));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    fn adopt(
        inherited: Vec<OwnedFd>,
        others: &[Place],
        places: &[Place],
        cores: usize,
        tolerant: bool,
    ) -> Result<Bound, String> {
        let mut bound = Bound::new(cores);
        let wanted = Wanted {
            places,
            tls: false,
            inherited,
        };
        super::adopt(&mut bound, wanted, others, tolerant)?;
        bound.complete()
    }

    fn places(words: &[&str]) -> Vec<Place> {
        let place = |word: &&str| Place::parse(word).unwrap();
        words.iter().map(place).collect()
    }

    /// What a successor is handed of a daemon that listens so.
    fn shared(bound: &Bound) -> Vec<OwnedFd> {
        let sockets = bound.listeners.iter().flatten();
        sockets
            .map(|listener| listener.socket.as_fd().try_clone_to_owned().unwrap())
            .collect()
    }

    fn port_of(bound: &Bound) -> u16 {
        match &bound.places[0] {
            Place::Tcp(address) => address.port(),
            Place::Unix(path) => panic!("{}", path.display()),
        }
    }

    fn succeed(before: &Bound, words: &[String], cores: usize) -> Bound {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let others = before.places.clone();
        adopt(shared(before), &others, &places(&words), cores, false).unwrap()
    }

    fn answers(bound: &Bound) -> bool {
        let listener = &bound.listeners[0][0].socket;
        listener.set_nonblocking(false).unwrap();
        listener.accept().is_ok()
    }

    #[test]
    fn from_one_address_to_all_and_back_while_the_other_process_listens() {
        let mut first = Bound::new(1);
        first
            .open(&places(&["127.0.0.1:0"])[0], false, &[])
            .unwrap();
        let port = port_of(&first);
        let all = [format!("0.0.0.0:{port}")];
        let one = [format!("127.0.0.1:{port}")];

        let mut second = succeed(&first, &all, 1);
        assert_eq!(second.left.len(), 1);
        // Until then, who comes is the first one's.
        let here = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert!(answers(&first));
        drop(here);
        second.take();
        drop(first);
        let elsewhere = TcpStream::connect(("127.0.0.2", port)).unwrap();
        assert!(answers(&second));
        drop(elsewhere);

        let mut third = succeed(&second, &one, 1);
        third.take();
        third.left.clear();
        drop(second);
        TcpStream::connect(("127.0.0.2", port)).unwrap_err();
        let _here = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert!(answers(&third));
    }

    #[test]
    fn what_is_where_the_settings_say_is_kept_and_each_core_has_its_own() {
        let mut first = Bound::new(2);
        for place in places(&["127.0.0.1:0", "127.0.0.2:0"]) {
            first.open(&place, false, &[]).unwrap();
        }
        let port = port_of(&first);
        let waiting = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut second = succeed(&first, &["127.0.0.1:0".into()], 3);
        assert_eq!(port_of(&second), port);
        assert_eq!(second.left.len(), 2);
        second.take();
        let of_each: Vec<_> = second.listeners.iter().map(Vec::len).collect();
        assert_eq!(of_each, [1, 1, 1]);
        let all = second
            .listeners
            .iter()
            .flatten()
            .map(|listener| &listener.socket);
        assert!(all.clone().all(|socket| socket.is_listener().unwrap()));
        for socket in all.clone() {
            socket.set_nonblocking(true).unwrap();
        }
        let accepted = all.filter_map(|socket| socket.accept().ok()).count();
        assert_eq!(accepted, 1);
        drop(waiting);
    }

    #[test]
    fn a_strangers_address_is_refused_or_done_without() {
        let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = stranger.local_addr().unwrap().to_string();
        let wanted = places(&[&taken, "127.0.0.1:0"]);
        let error = adopt(Vec::new(), &[], &wanted, 1, false).err().unwrap();
        assert!(error.contains("already in use"), "{error}");
        let bound = adopt(Vec::new(), &[], &wanted, 1, true).unwrap();
        assert_eq!((bound.places.len(), bound.lost), (1, 1));
        assert!(adopt(Vec::new(), &[], &wanted[..1], 1, true).is_err());
    }

    #[test]
    fn the_file_of_a_unix_socket_is_the_other_processs_until_all_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("public");
        let word = format!("unix:{}", path.display());
        let mut first = Bound::new(1);
        first.open(&places(&[&word])[0], false, &[]).unwrap();
        // One that fails takes nothing away.
        drop(succeed(&first, std::slice::from_ref(&word), 1));
        drop(succeed(&first, &["127.0.0.1:0".into()], 1));
        assert!(path.exists());
        let mut second = succeed(&first, &["127.0.0.1:0".into()], 1);
        second.take();
        assert!(!path.exists());
    }
}
