//! Products with matrix registers (AMX): up to sixteen tokens times sixteen rows at once.

mod bf16;
mod integers;

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::sync::OnceLock;

pub(crate) use bf16::{BAND, multiply};
pub(crate) use integers::add;

/// Whether the processor has the instructions, for 8-bit integers and bfloat16, and the operating system lets this
/// process use them.
pub(crate) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        const BF16_TILE_AND_INT8: u32 = 1 << 22 | 1 << 24 | 1 << 25;
        __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & BF16_TILE_AND_INT8 == BF16_TILE_AND_INT8 && is_permitted()
    })
}

/// Asks for the registers' room in every thread's saved state (arch_prctl(2)).
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // SAFETY: the call has no effect on memory.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// This thread's matrix registers while they have the shapes of a product.
pub(crate) struct Tiles(());

impl Tiles {
    /// Eight registers of so many rows and bytes a row. The instructions must be available, and the shapes within
    /// 16 rows of 64 bytes.
    fn configured(shapes: [(usize, usize); 8]) -> Self {
        #[repr(C, align(64))]
        struct Configuration {
            palette: u8,
            start: u8,
            reserved: [u8; 14],
            bytes: [u16; 16],
            rows: [u8; 16],
        }
        let mut configuration =
            Configuration { palette: 1, start: 0, reserved: [0; 14], bytes: [0; 16], rows: [0; 16] };
        for (tile, (rows, bytes)) in shapes.into_iter().enumerate() {
            configuration.rows[tile] = rows as u8;
            configuration.bytes[tile] = bytes as u16;
        }
        // SAFETY: a valid configuration for palette 1, and the instruction exists.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &configuration, options(nostack, readonly)) };
        Self(())
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // Threads without configured tiles are cheaper to switch between.
        // SAFETY: the instruction exists, as tiles were configured.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}
