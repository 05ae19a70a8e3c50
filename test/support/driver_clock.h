/* driver_clock.h - kv_db_reset_clock, by the database and by the model at once. */
#ifndef DRIVER_CLOCK_H
#define DRIVER_CLOCK_H

#include "driver.h"

/* Moves the system's clock and has the file's follow it; nothing may expire (driver_shape.expiry), since
 * the model forgets what has. *kind, *unknown, result: as of driver_snapshot. */
bool driver_reset_clock(driver *d, uint32_t *kind, model_state **unknown);

/* The time by which a change is judged now. */
int driver_time(kv_db *db, uint64_t *now);

#endif
