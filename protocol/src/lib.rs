//! Kafka on the wire, as values. Pure: no I/O, no async, no clock.
