//! The room on systems that have none: building it says so.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpStream;

use super::{Account, Outcome, Plan, RoomError, RoomOptions, Strength};

/// Never built.
pub struct Room(Infallible);

/// Never built.
pub struct Door(Infallible);

impl Room {
    pub fn strength() -> Strength {
        Strength::Weak(RoomError::NotLinux.to_string())
    }

    pub fn strength_by(_: &std::path::Path) -> Strength {
        Self::strength()
    }

    pub async fn build(_: Plan) -> Result<Self, RoomError> {
        Err(RoomError::NotLinux)
    }

    pub async fn build_with(_: Plan, _: RoomOptions) -> Result<Self, RoomError> {
        Err(RoomError::NotLinux)
    }

    pub fn holds(&self) -> &Strength {
        match self.0 {}
    }

    pub fn is_sealed(&self) -> bool {
        match self.0 {}
    }

    pub fn door(&self) -> &Door {
        match self.0 {}
    }

    pub fn audit(&mut self, _: &std::sync::Arc<crate::proxy::Shared>, _: bool) -> io::Result<()> {
        match self.0 {}
    }

    pub fn proxy_address(&self) -> SocketAddr {
        match self.0 {}
    }

    pub fn proxy_listener(&self) -> std::net::TcpListener {
        match self.0 {}
    }

    pub async fn run(&self, _: &[OsString]) -> Outcome {
        match self.0 {}
    }

    pub async fn run_attached(&self, _: &[OsString], _: &[(OsString, OsString)]) -> io::Result<Option<i32>> {
        match self.0 {}
    }

    pub fn signal(&self, _: i32) {
        match self.0 {}
    }

    pub fn account(&self) -> Account {
        match self.0 {}
    }
}

impl Door {
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match self.0 {}
    }

    pub fn name_of(&self, _: IpAddr) -> Option<String> {
        match self.0 {}
    }
}
