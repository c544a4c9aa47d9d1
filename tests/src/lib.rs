//! Tests of the whole: `tests/it` speaks the Jupyter protocol to the real binary, `python/`
//! runs jupyter_kernel_test and other front ends on it.
