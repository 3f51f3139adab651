;; account: keeps an account number and a key, and proves that it knows both.
;;
;;   personalise  argument: key (32 octets) | account number (1..32 octets)
;;   invoke       argument: challenge (1..64 octets); answer: HMAC-SHA-256(key, account number | challenge)
;;
;; Status 0 = OK, 1 = the argument is not of that form, 2 = not personalised yet.
;; Right: hmac. Data: 256 octets. An invoke leaves them as it found them.
;;
;;     0  key, 32 octets
;;    32  length of the account number, 0 before it is personalised
;;    64  account number, and behind it the challenge while a call lasts
;;   160  the answer while a call lasts
(module
  (import "otafleet" "input_length" (func $input_length (result i32)))
  (import "otafleet" "input_read" (func $input_read (param i32 i32 i32) (result i32)))
  (import "otafleet" "output_write" (func $output_write (param i32 i32)))
  (import "otafleet" "hmac" (func $hmac (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 256 256 (pagesize 1))

  (func (export "personalise") (result i32)
    (local $length i32)
    (local.set $length (i32.sub (call $input_length) (i32.const 32)))
    ;; 1..32, below which an unsigned subtraction wraps far beyond
    (if (i32.ge_u (i32.sub (local.get $length) (i32.const 1)) (i32.const 32))
      (then (return (i32.const 1))))
    (memory.fill (i32.const 0) (i32.const 0) (i32.const 256))
    (drop (call $input_read (i32.const 0) (i32.const 0) (i32.const 32)))
    (i32.store8 (i32.const 32) (local.get $length))
    (drop (call $input_read (i32.const 64) (i32.const 32) (local.get $length)))
    (i32.const 0))

  (func (export "invoke") (result i32)
    (local $account i32)
    (local $challenge i32)
    (local $end i32)
    (local.set $account (i32.load8_u (i32.const 32)))
    (local.set $challenge (call $input_length))
    (if (i32.eqz (local.get $account))
      (then (return (i32.const 2))))
    (if (i32.ge_u (i32.sub (local.get $challenge) (i32.const 1)) (i32.const 64))
      (then (return (i32.const 1))))
    (local.set $end (i32.add (i32.const 64) (local.get $account)))
    (drop (call $input_read (local.get $end) (i32.const 0) (local.get $challenge)))
    (call $hmac
      (i32.const 0) (i32.const 32)
      (i32.const 64) (i32.add (local.get $account) (local.get $challenge))
      (i32.const 160))
    (call $output_write (i32.const 160) (i32.const 32))
    (memory.fill (local.get $end) (i32.const 0) (i32.sub (i32.const 192) (local.get $end)))
    (i32.const 0)))
