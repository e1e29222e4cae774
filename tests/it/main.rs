//! Everything that needs more than one module, in one binary: it links once.

mod stand_in;
