//! HTTP: [`serve`] runs a router on a listener, behind a [`guard`] and with bounded [`work`]. Each concern is a router of
//! its own, so that one server can have several: [`view`] is the page that shows profiles.

pub mod debug;
pub mod guard;
pub mod listen;
pub mod metrics;
pub mod serve;
pub mod server;
pub mod tls;
pub mod view;
pub mod work;
