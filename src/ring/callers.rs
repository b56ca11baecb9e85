//! Where the kernel writes the addresses of those who are being accepted.
//!
//! Each accept under way has a place of its own, which stays where it is until the kernel has
//! answered, or for good where it never does.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ptr::NonNull;

/// One address, and how long the kernel says that it is.
struct Place {
    address: libc::sockaddr_storage,
    len: libc::socklen_t,
}

/// The places of all accepts under way.
#[derive(Default)]
pub(super) struct Callers {
    places: Vec<NonNull<Place>>,
    /// Which slot each of them is for.
    slots: Vec<Option<u32>>,
    free: Vec<u32>,
    /// The kernel may write for ever.
    abandoned: bool,
}

impl Callers {
    /// A place for who is accepted into a slot, by its number.
    pub(super) fn expect(&mut self, slot: u32) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| self.add());
        self.slots[number as usize] = Some(slot);
        number
    }

    fn add(&mut self) -> u32 {
        // SAFETY: all bits zero are an address of no family.
        let address = unsafe { std::mem::zeroed() };
        let place = Box::new(Place { address, len: 0 });
        self.places.push(NonNull::from(Box::leak(place)));
        self.slots.push(None);
        self.places.len() as u32 - 1
    }

    /// What the kernel is to be told of a place. It may write there until it has answered.
    pub(super) fn pointers(&mut self, number: u32) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        let place = self.places[number as usize].as_ptr();
        // SAFETY: the place was made by `add` and is let go of by the destructor alone. Nothing
        // is under way with it: each number is given out once until it is free again.
        unsafe {
            (*place).len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            ((&raw mut (*place).address).cast(), &raw mut (*place).len)
        }
    }

    /// The place that an accept into a slot has.
    pub(super) fn of_slot(&self, slot: u32) -> Option<u32> {
        let at = self.slots.iter().position(|of| *of == Some(slot));
        at.map(|at| at as u32)
    }

    /// Nobody has come to a place, which is free.
    pub(super) fn give_back(&mut self, number: u32) {
        self.slots[number as usize] = None;
        self.free.push(number);
    }

    /// Who has come, if that has an address of the internet. The place is free then.
    pub(super) fn read(&mut self, number: u32) -> Option<SocketAddr> {
        self.give_back(number);
        let place = self.places[number as usize].as_ptr();
        // SAFETY: the place lives as long as `self`, and the kernel is done with it: it has
        // answered. Any bits are an address of any family.
        unsafe {
            let address = &raw const (*place).address;
            match i32::from((*address).ss_family) {
                libc::AF_INET => {
                    let v4 = address.cast::<libc::sockaddr_in>().read();
                    let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
                    Some((ip, u16::from_be(v4.sin_port)).into())
                }
                libc::AF_INET6 => {
                    let v6 = address.cast::<libc::sockaddr_in6>().read();
                    let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                    Some((ip, u16::from_be(v6.sin6_port)).into())
                }
                _ => None,
            }
        }
    }

    /// Leaves the places to the kernel for good.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        if self.abandoned {
            return;
        }
        for place in &self.places {
            // SAFETY: made by `add` from a box; the ring that used it is gone, and had no
            // request under way when it went.
            drop(unsafe { Box::from_raw(place.as_ptr()) });
        }
    }
}
