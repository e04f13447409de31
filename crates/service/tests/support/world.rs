//! A service with one function and one endpoint.

use super::manager::{Endpoint, register};
use super::{Service, start};

/// It goes with its directory; tests add what they ask of it.
pub struct World {
    pub dir: tempfile::TempDir,
    pub service: Service,
    pub function: String,
    pub endpoint: Endpoint,
}

pub fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let service = start(dir.path());
    let (function, endpoint) = (service.function(), register(&service, "lab"));
    World { dir, service, function, endpoint }
}
