;; loyalty2: what loyalty is, and one operation more. It finds the data that loyalty leaves, and goes on with them.
;;
;;   personalise  argument: nothing, or an opening balance (4 octets)
;;   invoke       argument: operation (1 octet) | transaction number (4) | amount (4); answer: balance (4)
;;                operation 1 = add, 2 = redeem, 3 = balance, 4 = last transaction number, for which the answer
;;                has that in the place of the balance (of 3 and 4 the operation alone is enough)
;;
;; All numbers are unsigned and big-endian. Transaction numbers rise: the last one again changes nothing and is
;; answered with the same balance; an older one is refused. What is refused is answered with the balance too.
;; Status 0 = OK, 1 = the argument is not of that form, 2 = the balance would fall below zero or not fit, 3 = an
;; older transaction number.
;; Rights: none. Data: 64 octets.
;;
;;    0  balance, in the machine's own order like the next
;;    4  last transaction number
;;    8  1 once there is a last transaction
;;   16  the argument while a call lasts, then the answer
(module
  (import "otafleet" "input_length" (func $input_length (result i32)))
  (import "otafleet" "input_read" (func $input_read (param i32 i32 i32) (result i32)))
  (import "otafleet" "output_write" (func $output_write (param i32 i32)))
  (memory (export "memory") 64 64 (pagesize 1))

  (func $swap (param $value i32) (result i32)
    (i32.or
      (i32.rotl (i32.and (local.get $value) (i32.const 0xFF00FF00)) (i32.const 8))
      (i32.rotr (i32.and (local.get $value) (i32.const 0x00FF00FF)) (i32.const 8))))

  ;; answer with the number at $place, clear the scratch octets, and pass the status on
  (func $answer (param $status i32) (param $place i32) (result i32)
    (i32.store (i32.const 16) (call $swap (i32.load (local.get $place))))
    (call $output_write (i32.const 16) (i32.const 4))
    (memory.fill (i32.const 16) (i32.const 0) (i32.const 16))
    (local.get $status))

  (func (export "personalise") (result i32)
    (local $length i32)
    (local.set $length (call $input_length))
    (if (i32.and (i32.ne (local.get $length) (i32.const 0)) (i32.ne (local.get $length) (i32.const 4)))
      (then (return (i32.const 1))))
    (memory.fill (i32.const 0) (i32.const 0) (i32.const 64))
    (drop (call $input_read (i32.const 0) (i32.const 0) (i32.const 4)))
    (i32.store (i32.const 0) (call $swap (i32.load (i32.const 0))))
    (i32.const 0))

  (func (export "invoke") (result i32)
    (local $length i32)
    (local $operation i32)
    (local $number i32)
    (local $amount i32)
    (local $balance i32)
    (local $after i32)
    (local.set $length (call $input_read (i32.const 16) (i32.const 0) (i32.const 16)))
    (local.set $operation (i32.load8_u (i32.const 16)))
    (local.set $number (call $swap (i32.load (i32.const 17))))
    (local.set $amount (call $swap (i32.load (i32.const 21))))
    (local.set $balance (i32.load (i32.const 0)))
    (memory.fill (i32.const 16) (i32.const 0) (i32.const 16))

    (if (i32.eq (local.get $operation) (i32.const 3))
      (then
        (if (i32.or (i32.eq (local.get $length) (i32.const 1)) (i32.eq (local.get $length) (i32.const 9)))
          (then (return (call $answer (i32.const 0) (i32.const 0)))))))
    (if (i32.and (i32.eq (local.get $operation) (i32.const 4)) (i32.eq (local.get $length) (i32.const 1)))
      (then (return (call $answer (i32.const 0) (i32.const 4)))))
    ;; from here on 1 or 2, with nine octets
    (if (i32.or
          (i32.ne (local.get $length) (i32.const 9))
          (i32.ge_u (i32.sub (local.get $operation) (i32.const 1)) (i32.const 2)))
      (then (return (i32.const 1))))

    (if (i32.load8_u (i32.const 8))
      (then
        (if (i32.eq (local.get $number) (i32.load (i32.const 4)))
          (then (return (call $answer (i32.const 0) (i32.const 0)))))
        (if (i32.lt_u (local.get $number) (i32.load (i32.const 4)))
          (then (return (call $answer (i32.const 3) (i32.const 0)))))))

    (if (i32.eq (local.get $operation) (i32.const 1))
      (then
        (local.set $after (i32.add (local.get $balance) (local.get $amount)))
        (if (i32.lt_u (local.get $after) (local.get $balance))
          (then (return (call $answer (i32.const 2) (i32.const 0))))))
      (else
        (local.set $after (i32.sub (local.get $balance) (local.get $amount)))
        (if (i32.gt_u (local.get $after) (local.get $balance))
          (then (return (call $answer (i32.const 2) (i32.const 0)))))))

    (i32.store (i32.const 0) (local.get $after))
    (i32.store (i32.const 4) (local.get $number))
    (i32.store8 (i32.const 8) (i32.const 1))
    (call $answer (i32.const 0) (i32.const 0))))
