//! Kernelspecs in real folders.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::get_unwrap)]

use std::path::Path;

use codriver_install::{InstallError, Location, install, installed, uninstall};
use serde_json::Value;

#[test]
fn installs_what_jupyter_reads_and_removes_it() {
    let prefix = tempfile::tempdir().unwrap();
    let location = Location::Prefix(prefix.path().to_owned());
    let program = Path::new("/opt/codriver/bin/codriver");

    let folder = install(&location, "codriver", program).unwrap();
    assert_eq!(folder, prefix.path().join("share/jupyter/kernels/codriver"));
    let kernel: Value = serde_json::from_slice(&std::fs::read(folder.join("kernel.json")).unwrap()).unwrap();
    assert_eq!(kernel["argv"], serde_json::json!([program.to_str().unwrap(), "kernel", "-f", "{connection_file}"]));
    assert_eq!(kernel["interrupt_mode"], "message");
    assert_eq!(kernel["display_name"], "Codriver");
    for (logo, width) in [("logo-32x32.png", 32), ("logo-64x64.png", 64)] {
        let png = std::fs::read(folder.join(logo)).unwrap();
        assert_eq!(&png[1..4], b"PNG");
        assert_eq!(u32::from_be_bytes(png[16..20].try_into().unwrap()), width);
    }
    assert_eq!(installed(&location), [(folder.clone(), program.to_owned())]);

    install(&location, "codriver", program).expect("installing again replaces it");
    assert_eq!(uninstall(&location, "codriver").unwrap(), folder);
    assert!(!folder.exists());
    assert!(matches!(uninstall(&location, "codriver"), Err(InstallError::NotInstalled { .. })));
}

#[test]
fn leaves_other_kernels_alone() {
    let prefix = tempfile::tempdir().unwrap();
    let location = Location::Prefix(prefix.path().to_owned());
    let other = prefix.path().join("share/jupyter/kernels/python3");
    std::fs::create_dir_all(&other).unwrap();
    std::fs::write(other.join("kernel.json"), r#"{"argv": ["python"], "display_name": "Python 3"}"#).unwrap();

    assert!(matches!(install(&location, "python3", Path::new("/x")), Err(InstallError::OtherKernel(_))));
    assert!(matches!(uninstall(&location, "python3"), Err(InstallError::OtherKernel(_))));
    assert!(other.join("kernel.json").exists());
    assert!(installed(&location).is_empty());
}

#[test]
fn a_name_is_not_a_path() {
    let prefix = tempfile::tempdir().unwrap();
    let location = Location::Prefix(prefix.path().to_owned());
    for name in ["", "..", "../x", "a/b", "a b", ".hidden"] {
        assert!(matches!(install(&location, name, Path::new("/x")), Err(InstallError::Name(_))), "{name}");
    }
}
