"""From a file that a person wrote to a programme that a module would load: read, build, examine.

May import ``agents.handset.security_module``, which says what a module loads, ``agents.errors``, and nothing
else of this floor; the fleet's config and ``otafleet app`` both go through here, so that they never differ.

Theory of operation. ``programmes`` reads a file: WebAssembly as it is; WebAssembly text through wasmtime; C
through ``compiler``, which runs the clang and wasm-ld of the ``ziglang`` wheel (the optional extra ``c``) and
asks for a memory in pages of one octet. ``sections`` takes out what no module needs and the air would have to
carry. The same source gives the same octets, wherever it lies. ``examination`` asks the run unit itself what
a programme is and whether a resource would take it; ``wording`` says in a sentence why not. What C calls is
declared in ``include/otafleet.h``.
"""
