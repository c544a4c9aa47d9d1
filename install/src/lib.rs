//! Making Codriver known to Jupyter, and saying what a machine has and lacks.

mod checks;
mod kernelspec;
mod location;

pub use checks::{Check, Status, jupyter, landlock, rust};
pub use kernelspec::{DEFAULT_NAME, InstallError, install, installed, uninstall};
pub use location::Location;
