/* What a program around a module reads at a step: a token, or values. */
#include "NAME.h"

#ifdef NAME_TOKENS
typedef uint32_t input;
#define X(read) ((read)[0])
#define VALUES 1
#else
typedef float input;
#define X(read) (read)
#define VALUES NAME_INPUT_SIZE
#endif
