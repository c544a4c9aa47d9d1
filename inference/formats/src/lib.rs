//! The files that models come in, without the network they describe: GGUF containers, their
//! block-quantized numbers and their tokenizers.
