//! What chapter 07's producer and consumer must be able to take.

fn main() {}
