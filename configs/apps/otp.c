/* otp: a generator of one-time passwords, RFC 6238 (and RFC 4226) with HMAC-SHA-256: 8 digits, one each 30 s.
 *
 *   personalise  argument: key (32 octets)
 *   invoke       argument: nothing; answer: the password of now, 8 digits, which the user is shown too
 *                argument: a time (8 octets, seconds of the epoch, big-endian) whose password is over; answer:
 *                the password of then, and nothing is shown
 *
 * The user invokes it without an argument and types what the display says into some server. The supplier asks
 * for passwords of long ago, which nobody takes any more, and sees from them that the key is where it should be.
 * None is given away before its time: who holds the handset for a minute has no password of tomorrow.
 *
 * Status 0 = OK, 1 = the argument is not of that form, 2 = not personalised yet, 3 = a time that is not over.
 * Rights: hmac, time, display. Data: 289 octets, 256 of them the stack. An invoke leaves them as it found them.
 */
#include <otafleet.h>

enum { OK, MALFORMED, BLANK, NOT_OVER };

#define KEY_OCTETS 32
#define DIGITS 8
#define STEP_S 30

static uint8_t key[KEY_OCTETS];
static uint8_t is_personalised;

/* Writes the password of a time step (RFC 4226, section 5.3) as digits. */
static void password(uint64_t step, char digits[DIGITS]) {
    uint8_t counter[8], mac[OTA_DIGEST];
    for (int i = 7; i >= 0; i--, step >>= 8)
        counter[i] = (uint8_t)step;
    ota_hmac(key, sizeof key, counter, sizeof counter, mac);
    const uint8_t *at = mac + (mac[OTA_DIGEST - 1] & 15);
    uint32_t number = (uint32_t)(at[0] & 0x7f) << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
    for (int i = DIGITS - 1; i >= 0; i--, number /= 10)
        digits[i] = (char)('0' + number % 10);
    ota_wipe(mac, sizeof mac);
    ota_wipe(counter, sizeof counter);
}

int personalise(void) {
    if (ota_input_length() != KEY_OCTETS)
        return MALFORMED;
    ota_input_read(key, 0, KEY_OCTETS);
    is_personalised = 1;
    return OK;
}

int invoke(void) {
    uint32_t length = ota_input_length();
    if (!is_personalised)
        return BLANK;
    if (length != 0 && length != 8)
        return MALFORMED;
    uint64_t step = ota_time() / STEP_S;
    if (length) {
        uint8_t argument[8];
        uint64_t then = 0;
        ota_input_read(argument, 0, sizeof argument);
        for (int i = 0; i < 8; i++)
            then = then << 8 | argument[i];
        ota_wipe(argument, sizeof argument);
        if (then / STEP_S >= step)
            return NOT_OVER;
        step = then / STEP_S;
    }
    char digits[DIGITS];
    password(step, digits);
    ota_output_write(digits, DIGITS);
    if (!length)
        ota_display(digits, DIGITS);
    ota_wipe(digits, DIGITS);
    return OK;
}
