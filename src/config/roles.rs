//! Which address serves what: one may have several roles, and a public one that of the server
//! API.

use super::{Place, Roles, Settings};

impl Settings {
    /// The addresses that the public connects to, with and without TLS.
    pub fn public_places(&self) -> impl Iterator<Item = &Place> {
        self.listen.iter().chain(&self.listen_tls)
    }

    pub(super) fn is_public(&self, place: &Place) -> bool {
        self.public_places().any(|public| public == place)
    }

    /// The server API is served on the public listener that is bound there.
    pub fn serves_api_at(&self, bound: &Place) -> bool {
        let is_meant = |place: &Place| match self.is_public(place) {
            // A port 0 has become one that is not named.
            true => place == bound || place.admits(bound) && !self.is_public(bound),
            // The service manager has opened it in place of those of `listen`.
            false => place == bound,
        };
        self.api.iter().any(is_meant)
    }

    /// The addresses beside the public ones, and what each is for; the public listeners are
    /// bound at `public`.
    pub fn back_places(&self, public: &[Place]) -> Vec<(Place, Roles)> {
        let mut places: Vec<(Place, Roles)> = Vec::new();
        let mut add = |role: &[Place], set: fn(&mut Roles)| {
            for place in role {
                let known = places.iter_mut().find(|(known, _)| known == place);
                match known {
                    Some((_, roles)) => set(roles),
                    None => {
                        let mut roles = Roles::default();
                        set(&mut roles);
                        places.push((place.clone(), roles));
                    }
                }
            }
        };
        add(&self.admin, |roles| roles.admin = true);
        let is_back = |place: &&Place| !self.is_public(place) && !public.contains(place);
        let api: Vec<Place> = self.api.iter().filter(is_back).cloned().collect();
        add(&api, |roles| roles.api = true);
        add(&self.metrics, |roles| roles.metrics = true);
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_several_roles() {
        let place = |word| Place::parse(word).unwrap();
        let settings = Settings {
            admin: vec![place("unix:/a")],
            api: vec![place("127.0.0.1:1")],
            metrics: vec![place("127.0.0.1:1"), place("127.0.0.1:2")],
            ..Settings::default()
        };
        let places = settings.back_places(&[]).into_iter();
        let shown: Vec<_> = places.map(|(at, roles)| format!("{at} {roles}")).collect();
        assert_eq!(
            shown,
            [
                "unix:/a admin",
                "127.0.0.1:1 api+metrics",
                "127.0.0.1:2 metrics"
            ]
        );
    }

    #[test]
    fn the_server_api_may_be_on_public_addresses() {
        let place = |word| Place::parse(word).unwrap();
        let settings = Settings {
            listen: vec![place("127.0.0.1:0"), place("127.0.0.1:7")],
            admin: Vec::new(),
            api: vec![place("127.0.0.1:0"), place("127.0.0.1:8"), place("[::1]:9")],
            ..Settings::default()
        };
        for (bound, expected) in [
            ("127.0.0.1:4000", true),
            ("127.0.0.1:7", false),
            ("127.0.0.2:4000", false),
            ("[::1]:9", true),
        ] {
            assert_eq!(settings.serves_api_at(&place(bound)), expected, "{bound}");
        }
        let back = settings.back_places(&[place("[::1]:9")]);
        let shown: Vec<_> = back.into_iter().map(|(at, _)| at.to_string()).collect();
        assert_eq!(shown, ["127.0.0.1:8"]);
    }
}
