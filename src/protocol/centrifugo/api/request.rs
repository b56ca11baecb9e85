//! Reads what backends ask for.
//!
//! How the members of a call are read stands in `fields`.

use super::super::reply::Error;
use super::call::{Call, METHODS, Method};
use super::fields::Fields;
use crate::protocol::json::{BadRequest, FromJson, Reader};

type Read<T> = Result<T, BadRequest>;

/// A request: one call, or those of a batch in order. An error takes the place of a
/// call that nobody can do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    One(Result<Call, Error>),
    Batch(Vec<Item>),
}

/// One object of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// `None` where it names no method that is known.
    pub method: Option<Method>,
    pub call: Result<Call, Error>,
}

/// Why a request cannot be carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreadable {
    /// It is no JSON of the method's kind.
    BadRequest,
    /// A list in it has more items than may be.
    TooManyItems,
}

/// Reads the body of a request. If any call of a batch cannot be read, none counts; a batch has at
/// most `items_max` calls, and each of them lists as many channels or clients.
///
/// # Errors
/// See [`Unreadable`].
pub fn decode(method: Method, body: &[u8], items_max: usize) -> Result<Request, Unreadable> {
    let mut fits = true;
    let read = read(method, body, items_max, &mut fits);
    match (fits, read) {
        (false, _) => Err(Unreadable::TooManyItems),
        (true, Err(BadRequest)) => Err(Unreadable::BadRequest),
        (true, Ok(request)) => Ok(request),
    }
}

/// `fits` is made false where there are more than `items_max`.
fn read(method: Method, body: &[u8], items_max: usize, fits: &mut bool) -> Read<Request> {
    if simdutf8::basic::from_utf8(body).is_err() {
        return Err(BadRequest);
    }
    let body = match Reader::new(body).end().is_ok() {
        true => b"{}",
        false => body,
    };
    let mut reader = Reader::new(body);
    let request = match method {
        Method::Batch => batch(&mut reader, items_max, fits)?.map(Request::Batch),
        method => call(method, &mut reader)?.map(Request::One),
    };
    reader.end()?;
    let request = request.ok_or(BadRequest)?;
    let items = |call: &Result<Call, Error>| call.as_ref().map_or(0, Call::items);
    let items = match &request {
        Request::One(call) => items(call),
        Request::Batch(calls) => calls
            .iter()
            .map(|item| items(&item.call))
            .max()
            .unwrap_or(0),
    };
    *fits &= items <= items_max;
    Ok(request)
}

fn batch(reader: &mut Reader<'_>, items_max: usize, fits: &mut bool) -> Read<Option<Vec<Item>>> {
    let mut calls = Vec::new();
    let object = reader.object(|name, value| match name {
        "commands" => {
            let mut listed = Vec::new();
            let list = value.array(|value| {
                if listed.len() == items_max {
                    *fits = false;
                    return Err(BadRequest);
                }
                listed.push(command(value)?);
                Ok(())
            })?;
            if list.is_some() {
                calls = listed;
            }
            Ok(())
        }
        // They are done one after another in either case.
        _ => value.value().map(|_| ()),
    })?;
    Ok(object.map(|()| calls))
}

/// A call of a batch, under the name of its method.
fn command(reader: &mut Reader<'_>) -> Read<Item> {
    let mut first: Option<(usize, Item)> = None;
    let object = reader.object(|name, value| {
        let rank = METHODS.iter().position(|(known, _)| *known == name);
        let Some((rank, method)) = rank.map(|rank| (rank, METHODS[rank].1)) else {
            return value.value().map(|_| ());
        };
        if method == Method::Batch {
            return value.value().map(|_| ());
        }
        if let Some(call) = call(method, value)?
            && first.as_ref().is_none_or(|(before, _)| rank <= *before)
        {
            let method = Some(method);
            first = Some((rank, Item { method, call }));
        }
        Ok(())
    })?;
    let nameless = |error| Item {
        method: None,
        call: Err(error),
    };
    Ok(match (object, first) {
        (None, _) => nameless(Error::BAD_REQUEST),
        (Some(()), Some((_, item))) => item,
        (Some(()), None) => nameless(Error::NOT_FOUND),
    })
}

/// `None` if `null` stands there.
fn call(method: Method, reader: &mut Reader<'_>) -> Read<Option<Result<Call, Error>>> {
    let Some(fields) = Fields::read(reader)? else {
        return Ok(None);
    };
    Ok(Some(fields.call(method)))
}
