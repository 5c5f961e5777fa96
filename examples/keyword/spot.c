/* Listens to a WAV file or to raw samples, and prints what a model hears in every utterance:
 *
 *     spot [--raw] [--threshold DB] [FILE]
 *
 * An utterance is what is louder than a threshold. At its start the model starts anew, at every loud frame it votes
 * for a class, and after a pause the class with most votes is printed. Memory is constant, and a line is
 * printed as soon as the pause is over, so that input may be endless. */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mfcc.h"
#include "model.h"

#if MODEL_INPUT_SIZE != MFCC_COUNT || MODEL_OUTPUT_SIZE != SPOT_WORDS
#error "model.h and tables.h must be of one run"
#endif

#define THRESHOLD (-55.0) /* decibels below the loudest there is: the best on the validation clips */
#define PAUSE 25          /* quiet frames that end an utterance; a word may hold 0.2 s of silence, as before a t */
#define SHORTEST 5        /* votes of an utterance; fewer are a click */
#define EDGE (MFCC_WINDOW / MFCC_HOP) /* frames at a start whose windows may reach back into the pause: no training
                                         clip has such, and a model that never forgets would go on from them */
#define LONGEST 300       /* frames after which an utterance is ended, lest a noise last for ever */
#define FRAMES 100        /* in a second */
#define WINDOW 0.025      /* seconds in a frame */
#define ENDLESS 0x7FFFFF00u /* sizes from this on, and 0, were written by recorders that did not know the end */

typedef struct {
    mfcc_state features;
    model_state model;
    double threshold; /* of a frame's power */
    uint64_t frames;  /* that have been heard */
    uint64_t first, last; /* loud frames of the utterance */
    int inside;
    int quiet; /* frames since the last loud one */
    int voters;
    int votes[SPOT_WORDS];
} listener;

static int fail(const char *name, const char *what)
{
    fprintf(stderr, "spot: %s %s\n", name, what);
    return 2;
}

static int most(const float *values)
{
    int best = 0;
    for (int i = 1; i < MODEL_OUTPUT_SIZE; i++) {
        best = values[i] > values[best] ? i : best;
    }
    return best;
}

static void begin(listener *ear)
{
    model_init(&ear->model);
    ear->first = ear->frames;
    ear->inside = 1;
    ear->voters = 0;
    memset(ear->votes, 0, sizeof ear->votes);
}

/* Prints the word that won, unless it is the class of all others. */
static void finish(listener *ear)
{
    int best = 0;
    for (int i = 1; i < SPOT_WORDS; i++) {
        best = ear->votes[i] > ear->votes[best] ? i : best;
    }
    if (ear->inside && ear->voters >= SHORTEST && spot_words[best]) {
        const double from = (double)ear->first / FRAMES, to = (double)ear->last / FRAMES + WINDOW;
        printf("%.2f s - %.2f s  %s  (%d of %d frames)\n", from, to, spot_words[best], ear->votes[best], ear->voters);
        fflush(stdout);
    }
    ear->inside = 0;
}

static void hear(listener *ear, const mfcc_frame *frame)
{
    const int loud = (double)frame->power >= ear->threshold;
    if (loud && !ear->inside) {
        begin(ear);
    }
    if (ear->inside && ear->frames - ear->first >= EDGE) {
        float y[MODEL_OUTPUT_SIZE];
        model_step(&ear->model, frame->values, y);
        if (loud) {
            ear->votes[most(y)]++;
            ear->voters++;
        }
    }
    if (ear->inside) {
        ear->last = loud ? ear->frames : ear->last;
        ear->quiet = loud ? 0 : ear->quiet + 1;
        if (ear->quiet == PAUSE || ear->frames - ear->first == LONGEST - 1) {
            finish(ear);
        }
    }
    ear->frames++;
}

/* So many bytes as a number, the least first. They come one by one from the stream's buffer, which is filled with what
 * there is, so that a sample may be cut in two. Returns 0 at the end. */
static int read_number(FILE *in, int bytes, uint32_t *number)
{
    *number = 0;
    for (int i = 0; i < bytes; i++) {
        const int byte = getc(in);
        if (byte == EOF) {
            return 0;
        }
        *number |= (uint32_t)byte << (8 * i);
    }
    return 1;
}

/* Hears at most so many samples; returns how many there were. */
static uint64_t listen(listener *ear, FILE *in, uint64_t most_samples)
{
    uint64_t count = 0;
    uint32_t number;
    while (count < most_samples && read_number(in, 2, &number)) {
        const int16_t sample = (int16_t)((int32_t)number - (number < 0x8000u ? 0 : 0x10000));
        const int16_t *next = &sample;
        mfcc_frame frame;
        if (mfcc_next(&ear->features, &next, &sample + 1, &frame)) {
            hear(ear, &frame);
        }
        count++;
    }
    finish(ear);
    return count;
}

static int skip(FILE *in, uint64_t bytes)
{
    while (bytes > 0 && getc(in) != EOF) {
        bytes--;
    }
    return bytes == 0;
}

static int wrong(const char *name, const char *what)
{
    fprintf(stderr, "spot: %s must be a WAV file of 16-bit PCM, 1 channel, %d samples a second, got %s\n", name,
            MFCC_RATE, what);
    return 2;
}

/* Reads the format; returns 0 where it is the one that the model was trained on. */
static int read_format(FILE *in, const char *name, uint32_t size)
{
    uint32_t format, channels, rate, bits, ignored;
    if (size < 16 || !read_number(in, 2, &format) || !read_number(in, 2, &channels) || !read_number(in, 4, &rate) ||
        !read_number(in, 4, &ignored) || !read_number(in, 2, &ignored) || !read_number(in, 2, &bits) ||
        !skip(in, (uint64_t)size - 16 + size % 2)) {
        return wrong(name, "one that ends within its format");
    }
    if (format != 1 || channels != 1 || rate != MFCC_RATE || bits != 16) {
        char what[120];
        snprintf(what, sizeof what, "format %u%s of %u bits, %u channel%s, %u a second", (unsigned)format,
                 format == 1 ? " (PCM)" : "", (unsigned)bits, (unsigned)channels, channels == 1 ? "" : "s",
                 (unsigned)rate);
        return wrong(name, what);
    }
    return 0;
}

/* Reads up to the first sample; returns 0 where there is one, and the size of all in bytes. */
static int read_header(FILE *in, const char *name, uint32_t *size)
{
    char kind[4], type[4];
    uint32_t ignored;
    int known = 0;
    if (fread(kind, 1, 4, in) != 4 || memcmp(kind, "RIFF", 4) || !read_number(in, 4, &ignored) ||
        fread(type, 1, 4, in) != 4 || memcmp(type, "WAVE", 4)) {
        return wrong(name, "one that does not begin with RIFF and WAVE");
    }
    while (fread(kind, 1, 4, in) == 4 && read_number(in, 4, size)) {
        if (memcmp(kind, "data", 4) == 0) {
            return known ? 0 : wrong(name, "one with no format before its data");
        }
        if (memcmp(kind, "fmt ", 4) == 0) {
            const int status = read_format(in, name, *size);
            if (status) {
                return status;
            }
            known = 1;
        } else if (!skip(in, (uint64_t)*size + *size % 2)) {
            break;
        }
    }
    return wrong(name, "one that ends before its data");
}

/* Detections in a file that was cut are printed all the same, before the error. */
static int listen_wav(listener *ear, FILE *in, const char *name)
{
    uint32_t size;
    const int status = read_header(in, name, &size);
    if (status) {
        return status;
    }
    if (size == 0 || size >= ENDLESS) {
        listen(ear, in, UINT64_MAX);
        return 0;
    }
    const uint64_t count = listen(ear, in, size / 2);
    if (count < size / 2 || size % 2) {
        fprintf(stderr, "spot: %s must be as long as its header says, %.1f samples, got %lu\n", name, size / 2.0,
                (unsigned long)count);
        return 2;
    }
    return 0;
}

static int usage(const char *what, const char *word)
{
    fprintf(stderr, "spot: %s `%s`; usage: spot [--raw] [--threshold DB] [FILE]\n", what, word);
    return 2;
}

int main(int count, char **words)
{
    static listener ear;
    const char *path = NULL;
    double threshold = THRESHOLD;
    int raw = 0;
    for (int i = 1; i < count; i++) {
        if (strcmp(words[i], "--raw") == 0) {
            raw = 1;
        } else if (strcmp(words[i], "--threshold") == 0) {
            const char *word = i + 1 < count ? words[++i] : "";
            char *end;
            threshold = strtod(word, &end);
            if (end == word || *end || !(threshold >= -120.0 && threshold <= 0.0)) {
                return usage("`--threshold` must be decibels from -120 to 0, got", word);
            }
        } else if (words[i][0] == '-' && words[i][1]) {
            return usage("there is no option", words[i]);
        } else if (path) {
            return usage("there must be one file, got also", words[i]);
        } else {
            path = words[i];
        }
    }
    ear.threshold = pow(10.0, threshold / 10.0);
    mfcc_init(&ear.features);
    const int named = path && strcmp(path, "-") != 0;
    const char *name = named ? path : "standard input";
    FILE *in = named ? fopen(path, "rb") : stdin;
    if (!in) {
        fprintf(stderr, "spot: %s cannot be opened: %s\n", name, strerror(errno));
        return 2;
    }
    int status = 0;
    if (raw) {
        listen(&ear, in, UINT64_MAX);
    } else {
        status = listen_wav(&ear, in, name);
    }
    if (ferror(in)) {
        status = fail(name, "cannot be read");
    }
    if (ferror(stdout)) {
        status = fail("standard output", "cannot be written");
    }
    return status;
}
