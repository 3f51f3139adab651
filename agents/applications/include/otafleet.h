/* otafleet.h: what an application in C has to define, and what it may call.
 *
 *     #include <otafleet.h>
 *
 *     static unsigned visits;             // the resource's data: kept from run to run
 *
 *     int personalise(void) { return 0; }
 *     int invoke(void) {
 *         visits++;
 *         ota_output_write(&visits, sizeof visits);
 *         return 0;
 *     }
 *
 * What is static is the data of the resource, and stays from one run to the next; the stack is a part of the
 * data too, and starts anew. There is no C library and no heap. A run that traps leaves the data as before.
 */
#ifndef OTAFLEET_H
#define OTAFLEET_H

#include <stddef.h>
#include <stdint.h>

/* The two entries, which an application defines. They return a status: 0 for OK, and any other is the
 * application's own way to refuse, which leaves the data as before. docs/abi.md has the details. */
int personalise(void); /* takes the personal data that the supplier loads */
int invoke(void);      /* does what the application is for */

/* ---- host functions ------------------------------------------------------------------------------------
 *
 * Importing one that the resource was not granted has the application refused when it is loaded; one that is
 * declared here and not called is not imported. A pointer to what is not the application's ends the run. */

#define OTA_HOST(name) __attribute__((import_module("otafleet"), import_name(#name)))

#define OTA_MAX_OUTPUT 1024    /* octets of an answer, in all */
#define OTA_MAX_TEXT 240       /* octets of a text on the display */
#define OTA_MAX_TEXTS 8        /* texts that a run may display */
#define OTA_MAX_SIGNATURE 4096 /* octets of the longest signature that there may be */
#define OTA_DIGEST 32          /* octets that SHA-256 and HMAC-SHA-256 give */
#define OTA_AES_BLOCK 16       /* octets of a block, of an initial vector and of what AES-CMAC gives */

/* always granted: octets of the call's argument */
OTA_HOST(input_length) uint32_t ota_input_length(void);
/* always granted: copies argument octets from offset on to ptr; returns how many there were to copy */
OTA_HOST(input_read) uint32_t ota_input_read(void *ptr, uint32_t offset, uint32_t length);
/* always granted: appends to the answer */
OTA_HOST(output_write) void ota_output_write(const void *ptr, uint32_t length);
/* right "random": fills with random octets */
OTA_HOST(random) void ota_random(void *ptr, uint32_t length);
/* right "sha256": SHA-256 of octets */
OTA_HOST(sha256) void ota_sha256(const void *ptr, uint32_t length, uint8_t out[OTA_DIGEST]);
/* right "hmac": HMAC-SHA-256 of octets */
OTA_HOST(hmac)
void ota_hmac(const void *key, uint32_t key_length, const void *ptr, uint32_t length, uint8_t out[OTA_DIGEST]);
/* right "aes": AES in CBC mode of whole blocks, without padding; a key has 16, 24 or 32 octets */
OTA_HOST(aes_cbc_encrypt)
void ota_aes_cbc_encrypt(const void *key, uint32_t key_length, const uint8_t iv[OTA_AES_BLOCK],
                         const void *ptr, uint32_t length, void *out);
/* right "aes": the same the other way */
OTA_HOST(aes_cbc_decrypt)
void ota_aes_cbc_decrypt(const void *key, uint32_t key_length, const uint8_t iv[OTA_AES_BLOCK],
                         const void *ptr, uint32_t length, void *out);
/* right "aes": AES-CMAC of octets */
OTA_HOST(aes_cmac)
void ota_aes_cmac(const void *key, uint32_t key_length, const void *ptr, uint32_t length,
                  uint8_t out[OTA_AES_BLOCK]);
/* right "sign": the module's signature of octets, as this application's; written if out has room; its length */
OTA_HOST(sign) uint32_t ota_sign(const void *ptr, uint32_t length, void *out, uint32_t room);
/* right "time": seconds of the epoch, as the module trusts */
OTA_HOST(time) uint64_t ota_time(void);
/* right "display": a text in UTF-8 for the user, shown when the run ends well */
OTA_HOST(display) void ota_display(const char *ptr, uint32_t length);

/* ---- what C needs without a library --------------------------------------------------------------------
 *
 * Copying and filling are an instruction each; the compiler uses them for structures and loops too. */

static inline void *memcpy(void *restrict to, const void *restrict from, size_t size) {
    return __builtin_memcpy(to, from, size);
}

static inline void *memmove(void *to, const void *from, size_t size) { return __builtin_memmove(to, from, size); }

static inline void *memset(void *to, int octet, size_t size) { return __builtin_memset(to, octet, size); }

static inline int memcmp(const void *one, const void *other, size_t size) {
    const uint8_t *a = one, *b = other;
    for (; size && *a == *b; size--, a++, b++) {
    }
    return size ? *a - *b : 0;
}

/* Zeros that stay zeros: for what is secret and on the stack, where the compiler drops a memset as idle. */
static inline void ota_wipe(void *ptr, size_t size) {
    __builtin_memset(ptr, 0, size);
    __asm__ volatile("" : : "r"(ptr) : "memory");
}

#endif
