//! Init of the micro VM: see [`tests::guest`].

fn main() -> ! {
    tests::guest::main()
}
