//! The worlds that Sexton deletes from, as their services keep them: the schemas of `deploy/demo/`, filled from one seed
//! and from nothing else. The demonstration shows them, and the tests try the shipped plans on them.

#![allow(dead_code, reason = "the demonstration and the tests each look at a part")]

pub(crate) mod agno;
pub(crate) mod archive;
pub(crate) mod draw;
pub(crate) mod estate;
pub(crate) mod pave;
pub(crate) mod platform;
pub(crate) mod powerdrill;
pub(crate) mod sessions;
