//! Where an entry went: its URL taken apart.

use crate::session::http::authority;

/// Parts of an absolute URL of http, https, ws or wss.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Url<'a> {
    pub secure: bool,
    /// Lower case, without the port.
    pub host: String,
    pub port: u16,
    /// As spelled, without a user.
    pub authority: &'a [u8],
    /// Path and query; empty where there is neither.
    pub target: &'a [u8],
    /// A user was named in it, whom clients send in a field instead.
    pub user: bool,
}

/// Why there is no such thing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoUrl {
    /// `data:`, `blob:`, `file:` … : asked of no network.
    Local,
    Broken,
}

impl<'a> Url<'a> {
    pub fn read(url: &'a [u8]) -> Result<Self, NoUrl> {
        let colon = memchr::memchr(b':', url).ok_or(NoUrl::Broken)?;
        let secure = match url[..colon].to_ascii_lowercase().as_slice() {
            b"https" | b"wss" => true,
            b"http" | b"ws" => false,
            b"data" | b"blob" | b"file" | b"about" | b"chrome" | b"resource" | b"javascript" | b"filesystem" => {
                return Err(NoUrl::Local);
            }
            scheme if scheme.ends_with(b"-extension") => return Err(NoUrl::Local),
            _ => return Err(NoUrl::Broken),
        };
        let rest = url[colon..].strip_prefix(b"://").ok_or(NoUrl::Broken)?;
        let end = rest.iter().position(|byte| b"/?#\\".contains(byte)).unwrap_or(rest.len());
        let (named, target) = rest.split_at(end);
        let at = memchr::memrchr(b'@', named);
        let plain = at.map_or(named, |at| &named[at + 1..]);
        let (host, port) = authority(plain).ok_or(NoUrl::Broken)?;
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { secure, host, port, authority: plain, target, user: at.is_some() })
    }
}

#[cfg(test)]
mod tests {
    use super::{NoUrl, Url};

    #[test]
    fn urls_are_taken_apart() {
        let url = Url::read(b"WSS://me:pw@API.example.com:8443?a=/b").unwrap();
        assert_eq!((url.secure, url.host.as_str(), url.port), (true, "api.example.com", 8443));
        assert_eq!((url.authority, url.target, url.user), (&b"API.example.com:8443"[..], &b"?a=/b"[..], true));
        assert_eq!(Url::read(b"http://[::1]/x").unwrap().host, "[::1]");
        assert_eq!(Url::read(b"data:text/plain,x"), Err(NoUrl::Local));
        assert_eq!(Url::read(b"chrome-extension://abc/x.js"), Err(NoUrl::Local));
        for broken in ["", "/path", "https:/x", "https://", "https://a b/", "https://\u{fc}/"] {
            assert_eq!(Url::read(broken.as_bytes()), Err(NoUrl::Broken), "{broken}");
        }
    }
}
