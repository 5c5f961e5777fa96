/* Runs the sequences in data.h on a Cortex-M4 and prints, for every step, the bits of what the model says; at the end
 * the ticks of a thousand instructions, the mean and the most ticks of a step, and the most bytes of stack below main
 * that a step uses. */
#include <stdio.h>
#include "NAME.h"
#include "data.h"

#ifdef NAME_TOKENS
#define X(at) (inputs[at])
#else
#define X(at) (inputs + (at) * NAME_INPUT_SIZE)
#endif

#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)
#define FULL 0xFFFFFFu
#define PAINTED 16384u
#define PAINT 0xA5A5A5A5u

static NAME_state state;

static uint32_t ticks_since(uint32_t start)
{
    return (start - SYST_CVR) & FULL;
}

static uint32_t stack_pointer(void)
{
    uint32_t sp;
    __asm volatile("mov %0, sp" : "=r"(sp));
    return sp;
}

static void print_word(uint32_t word)
{
    char text[9];
    for (int i = 7; i >= 0; i--, word >>= 4) {
        text[i] = "0123456789abcdef"[word & 15u];
    }
    text[8] = '\0';
    fputs(text, stdout);
}

int main(void)
{
    float y[NAME_OUTPUT_SIZE];
    uint64_t sum = 0;
    uint32_t most = 0, steps = 0;
    SYST_RVR = FULL;
    SYST_CVR = 0;
    SYST_CSR = 5;

    const uint32_t bottom = stack_pointer() - PAINTED;
    for (uint32_t at = bottom; at < bottom + PAINTED - 64u; at += 4u) {
        *(volatile uint32_t *)at = PAINT;
    }
    NAME_init(&state);
    NAME_step(&state, X(0), y);
    uint32_t deepest = bottom;
    while (*(volatile uint32_t *)deepest == PAINT) {
        deepest += 4u;
    }

    uint32_t start = SYST_CVR;
    const uint32_t overhead = ticks_since(start);
    start = SYST_CVR;
    __asm volatile(".rept 1000\n nop\n .endr");
    const uint32_t thousand = ticks_since(start) - overhead;

    for (uint32_t i = 0, at = 0; i < sizeof lengths / sizeof *lengths; i++) {
        NAME_init(&state);
        for (uint32_t t = 0; t < lengths[i]; t++, at++, steps++) {
            start = SYST_CVR;
            NAME_step(&state, X(at), y);
            const uint32_t ticks = ticks_since(start) - overhead;
            sum += ticks;
            most = ticks > most ? ticks : most;
            for (int j = 0; j < NAME_OUTPUT_SIZE; j++) {
                union {
                    float value;
                    uint32_t word;
                } bits = {.value = y[j]};
                print_word(bits.word);
            }
            fputs("\n", stdout);
        }
    }
    printf("ticks %lu %lu %lu stack %lu\n", (unsigned long)thousand, (unsigned long)(sum / steps), (unsigned long)most,
           (unsigned long)(bottom + PAINTED - deepest));
    return 0;
}
