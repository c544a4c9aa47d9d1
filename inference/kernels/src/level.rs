//! What the processor can do.

use std::sync::OnceLock;

/// A set of instructions that the products are written for, best last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Any processor.
    Portable,
    /// 64-bit ARM with 8-bit dot products (NEON, DotProd).
    NeonDotProd,
    /// x86-64 with AVX2, FMA and F16C: 256-bit vectors.
    Avx2,
    /// The same with 8-bit dot products (AVX-VNNI).
    AvxVnni,
    /// x86-64 with AVX-512 (F, BW, VL) and VNNI: 512-bit vectors and 8-bit dot products.
    Avx512Vnni,
    /// The same with matrix registers (AMX): of integers (AMX-INT8) for sixteen tokens and more, of bfloat16 (AMX-BF16)
    /// for any.
    Amx,
}

impl Level {
    /// The best one of this processor.
    pub fn detect() -> Self {
        Self::available().into_iter().next_back().unwrap_or(Self::Portable)
    }

    /// [`Level::detect`], asked once.
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(Self::detect)
    }

    /// Those of this processor, best last.
    pub fn available() -> Vec<Self> {
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            levels.push(Self::NeonDotProd);
        }
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c") {
            levels.push(Self::Avx2);
            if is_x86_feature_detected!("avxvnni") {
                levels.push(Self::AvxVnni);
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
            {
                levels.push(Self::Avx512Vnni);
                if crate::amx::is_available() {
                    levels.push(Self::Amx);
                }
            }
        }
        levels
    }
}
