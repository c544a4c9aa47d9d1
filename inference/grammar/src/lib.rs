//! What an answer may look like: masks over the vocabulary from JSON schemas, regular expressions,
//! choices and tool definitions.
