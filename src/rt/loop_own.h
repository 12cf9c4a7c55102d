/* What other files of rt hang on a loop, real or simulated. Inside rt only. */
#ifndef RT_LOOP_OWN_H
#define RT_LOOP_OWN_H

struct loop;
struct resolve;
struct wheel;

struct wheel *loop_wheel(struct loop *loop);

/* Head of the list of questions that wait for an answer (rt/resolve.c). */
struct resolve **loop_resolves(struct loop *loop);

#endif
