//! A GPU in software: Mesa's lavapipe, on which the tests of GPUs run where there is none.

use std::path::Path;

use crate::process::say;
use crate::setup::browser::apt_install;

/// Where Vulkan's loader finds drivers.
const MANIFESTS: [&str; 2] = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];

/// Debian's package where it is missing and we may install it; says what is not tested without it.
pub fn software_gpu() {
    if is_there() || (apt_install(&["mesa-vulkan-drivers", "libvulkan1"]) && is_there()) {
        return;
    }
    say("no software GPU (Debian: apt-get install mesa-vulkan-drivers libvulkan1): \
         the tests of a lost GPU, and of any GPU where this machine has none, are skipped");
}

fn is_there() -> bool {
    let files = MANIFESTS.iter().filter_map(|folder| Path::new(folder).read_dir().ok()).flatten().flatten();
    files.map(|file| file.file_name()).any(|name| name.to_string_lossy().starts_with("lvp_icd"))
}
