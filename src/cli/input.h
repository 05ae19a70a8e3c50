/* input.h - a value from the command line, or from standard input where - stands for it. */
#ifndef INPUT_H
#define INPUT_H

#include "args.h"

/* Reads standard input to its end if the operand is a dash. 0, or the exit code after a message.
 * Then input_free. */
int input_value(const args_operand *operand, kv_slice *value);
void input_free(const args_operand *operand, kv_slice value);

#endif
