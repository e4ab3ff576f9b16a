//! (written on its branch)
#[derive(clap::Args)]
pub struct Args {}
pub fn main(_args: &Args) -> anyhow::Result<()> {
    Ok(())
}
