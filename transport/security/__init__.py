"""Public-key work on the air interface: suites, certificates, sealed messages, and how a session comes to be.

What the room is for: whatever one role proves to another or hides from a third, before and beside the
secured packets. It may import ``transport.errors``, ``transport.secured_packet``, ``cryptography`` and
``msgpack``; no clock, no log, no global randomness of its own (``rng`` and ``now`` are arguments; what
serves one message alone, the library draws inside where it offers no other way: ephemeral keys of HPKE and
OAEP, salts of PSS and ML-DSA, what ML-KEM encapsulates).

Theory of operation. A *suite* (``suites``) is one choice of signature, key agreement and sealing, with fixed
lengths and one octet of name on the wire; behind those with RSA are ``rsa_keys``, ``primes`` and ``ffdh``. A
*certificate* (``certificates``) says whose keys are whose; a *chain* of them (``chain``) leads from an issuer
that one knows to a subject that one never met; ``x509`` has both in the forms of a PKI. A *sealed message*
(``sealing``) goes between two roles that know each other's keys: encrypted to one, signed by the other. A
*handshake* (``handshake``) lets a module and a supplier agree on *session keys* (``keyset``), which become
the KIc and KID of a keyset. Nothing is negotiated on the air: both sides bring the same ``Terms``, and every
octet of them is under both signatures. Each form of it is a room of its own with the argument why it holds;
what sides bring to it is in ``handshake_credentials``. A *domain key* (``domain_key``) is what all modules of
a global service have in common, and how it is wrapped to each of them.

Growing it: a suite is a file beside ``suite_x25519`` and a row in ``suites.ALL_SUITES``; a form of secure
connection is a number in ``terms.FORM_NUMBERS``, its life in ``handshake_states``, what it needs in
``handshake_credentials``, a method beside ``handshake_agree_then_sign``, a flow beside ``handshake_three`` if
none fits, and a row in ``handshake``. Every attack of the tests runs over it then.
"""
