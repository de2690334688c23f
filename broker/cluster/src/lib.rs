//! What the cluster decides, as pure state machines.
