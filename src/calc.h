/* calc.h - counting in place: values that are numbers (number.h). */
#ifndef KVI_CALC_H
#define KVI_CALC_H

#include "ops.h"

/* As kv_incr, kv_incr_double, kv_put_min, kv_put_max say; result may be NULL. */
int kvi_incr(kv_tree *tree, kvi_slice key, int64_t delta, int64_t initial, uint32_t flags,
             int64_t *result) KVI_MUST_CHECK;
int kvi_incr_double(kv_tree *tree, kvi_slice key, double delta, double initial, uint32_t flags,
                    double *result) KVI_MUST_CHECK;
int kvi_put_min(kv_tree *tree, kvi_slice key, int64_t number, uint32_t flags,
                int64_t *result) KVI_MUST_CHECK;
int kvi_put_max(kv_tree *tree, kvi_slice key, int64_t number, uint32_t flags,
                int64_t *result) KVI_MUST_CHECK;

#endif
