/* What a node's config may say, with every fault told at once. */
#include "base/nearest.h"
#include "flow/condition.h"
#include "flow/nodes.h"
#include "flow/nodes_config.h"
#include "flow/nodes_url.h"
#include "flow/template.h"
#include "flow/why.h"

/* What checking a member needs. */
struct member_check {
    const struct config_member *member;
    const char *place;
    struct workflow_faults *faults;
};

static void check_members(const char *place, const char *whose, const json_t *config,
    const struct config_member *members, struct workflow_faults *faults);

struct root_check {
    const struct workflow_faults *faults;
    char said[NODES_WHY_MAX];
};

/* Are there faults enough? The rest is only counted: what is no more told needs no suggestion, and
 * those take their time. */
static bool told_enough(const struct workflow_faults *faults)
{
    return faults->count >= WORKFLOW_FAULTS_MAX;
}

/* A pointer through the document begins with what the document has. */
static const char *check_root(void *ctx, struct span pointer)
{
    static const char *const roots[] = {"inputs", "results", "payload", "run"};
    static const char *const facts[] = {"id", "tag", "user"};
    struct root_check *check = ctx;
    struct span segment = {0}, fact = {0};
    struct nearest nearest = {0};

    bool any = pointer_next(&pointer, &segment);
    for (size_t i = 0; any && i < COUNT_OF(roots); i++) {
        if (!pointer_names(segment, span_str(roots[i]))) {
            if (!told_enough(check->faults)) {
                nearest_try(&nearest, segment, roots[i]);
            }
            continue;
        }
        if (strcmp(roots[i], "run") != 0 || !pointer_next(&pointer, &fact)) {
            return NULL;
        }
        for (size_t j = 0; j < COUNT_OF(facts); j++) {
            if (pointer_names(fact, span_str(facts[j]))) {
                return NULL;
            }
        }
        return "is not known of a run; there are /run/id, /run/tag and /run/user";
    }
    if (nearest.name[0]) {
        why_say(check->said, sizeof(check->said),
            "does not begin in the document; did you mean \"/%s\"?", nearest.name);
        return check->said;
    }
    return "does not begin in the document: with /inputs, /results, /payload or /run";
}

static void check_choice(const struct member_check *check, const json_t *value)
{
    const char *const *choices = check->member->choices;
    struct nearest nearest = {0};
    char all[200] = "";

    if (config_find_choice(value, choices)) {
        return;
    }
    for (size_t i = 0; choices[i]; i++) {
        size_t used = strlen(all);
        nearest_try(&nearest, config_span(value), choices[i]);
        why_say(all + used, sizeof(all) - used, "%s%s", i ? ", " : "", choices[i]);
    }
    if (!json_is_string(value)) {
        workflow_faults_add(check->faults, "%s: expected one of %s", check->place, all);
        return;
    }
    struct why_quote quote = why_quote(config_span(value));
    if (nearest.name[0]) {
        workflow_faults_add(check->faults, "%s: there is no \"%s\"; did you mean \"%s\"?",
            check->place, quote.text, nearest.name);
    } else {
        workflow_faults_add(check->faults, "%s: there is no \"%s\"; expected one of %s",
            check->place, quote.text, all);
    }
}

static void check_number(const struct member_check *check, const json_t *value)
{
    const struct config_member *member = check->member;
    bool place = member->kind == CONFIG_DELAY;
    int64_t number = 0;

    if (place && json_is_string(value) && template_has_places(config_span(value))) {
        return;
    }
    if (!config_number(value, &number) || number < member->min || number > member->max) {
        workflow_faults_add(check->faults, "%s: expected a whole number of %lld to %lld%s",
            check->place, (long long)member->min, (long long)member->max,
            place ? ", or a template of one" : "");
    }
}

static void check_statuses(const struct member_check *check, const json_t *value)
{
    int64_t status = 0;
    size_t index;
    json_t *part;

    json_array_foreach(value, index, part)
    {
        if (!config_number(part, &status) || status < 100 || status > 599) {
            workflow_faults_add(
                check->faults, "%s[%zu]: expected an HTTP status, 100 to 599", check->place, index);
        }
    }
    if (json_array_size(value) == 0) {
        workflow_faults_add(
            check->faults, "%s: expected an array of HTTP statuses, e.g. [200,404]", check->place);
    }
}

static void check_when(const struct member_check *check, const json_t *value)
{
    struct condition *condition = NULL;
    char why[CONDITION_WHY_MAX] = "there is no memory for it";

    if (condition_compile(value, &condition, why)) {
        workflow_faults_add(check->faults, "%s: %s", check->place, why);
    }
    condition_free(condition);
}

static void check_headers(const struct member_check *check, const json_t *value)
{
    char why[NODES_WHY_MAX];
    const char *key;
    size_t key_len;
    json_t *part;

    if (!json_is_object(value) || json_object_size(value) > NODES_HEADERS_MAX) {
        workflow_faults_add(check->faults, "%s: expected an object of at most %d headers",
            check->place, NODES_HEADERS_MAX);
        return;
    }
    json_object_keylen_foreach((json_t *)value, key, key_len, part)
    {
        struct span name = span_of(key, key_len);
        bool fine = header_name_check(name, why, sizeof(why));
        if (fine && header_twice(value, name)) {
            why_say(why, sizeof(why), "it is there twice: letters' case does not matter");
            fine = false;
        }
        if (fine && json_is_string(part) && !template_has_places(config_span(part))) {
            fine = header_value_check(config_span(part), why, sizeof(why));
        }
        if (json_is_object(part) || json_is_array(part)) {
            why_say(why, sizeof(why), "expected text");
            fine = false;
        }
        if (!fine) {
            workflow_faults_add(
                check->faults, "%s.%s: %s", check->place, why_quote(name).text, why);
        }
    }
}

static void check_url(const struct member_check *check, const json_t *value)
{
    char why[NODES_WHY_MAX];
    struct span url = config_span(value);

    if (!json_is_string(value)) {
        workflow_faults_add(
            check->faults, "%s: expected text, e.g. \"https://example.com/\"", check->place);
    } else if (!url_template_check(url, why, sizeof(why))) {
        workflow_faults_add(check->faults, "%s: %s", check->place, why);
    }
}

static void check_member(const struct member_check *check, const json_t *value)
{
    struct root_check root = {.faults = check->faults};
    struct config_look look = {.fn = check_root, .ctx = &root, .faults = check->faults};

    switch (check->member->kind) {
    case CONFIG_TEXT:
        if (!json_is_string(value)) {
            workflow_faults_add(check->faults, "%s: expected text", check->place);
        }
        break;
    case CONFIG_FIELD:
        if (!json_is_string(value) || !pointer_valid(config_span(value))) {
            workflow_faults_add(
                check->faults, "%s: expected a JSON pointer, e.g. \"/price\"", check->place);
        }
        break;
    case CONFIG_POINTERS:
        if (json_array_size(value) > NODES_FROM_MAX) {
            workflow_faults_add(
                check->faults, "%s: expected at most %d pointers", check->place, NODES_FROM_MAX);
        }
        break;
    case CONFIG_WHEN:
        check_when(check, value);
        break;
    case CONFIG_SORT:
        check_members(check->place, "sort", value, config_sort_members, check->faults);
        break;
    case CONFIG_CHOICE:
        check_choice(check, value);
        break;
    case CONFIG_NUMBER:
    case CONFIG_DELAY:
        check_number(check, value);
        break;
    case CONFIG_URL:
        check_url(check, value);
        break;
    case CONFIG_HEADERS:
        check_headers(check, value);
        break;
    case CONFIG_STATUSES:
        check_statuses(check, value);
        break;
    default:
        break;
    }
    config_look(&look, check->place, value, check->member->kind);
}

static void add_unknown(const char *place, const char *whose, struct span name,
    const struct config_member *members, struct workflow_faults *faults)
{
    struct nearest nearest = {0};
    char all[200] = "";

    for (size_t i = 0; members[i].name && !told_enough(faults); i++) {
        size_t used = strlen(all);
        nearest_try(&nearest, name, members[i].name);
        why_say(all + used, sizeof(all) - used, "%s%s", i ? ", " : "", members[i].name);
    }
    if (nearest.name[0]) {
        workflow_faults_add(faults, "%s.%s: %s has no such member; did you mean \"%s\"?", place,
            why_quote(name).text, whose, nearest.name);
    } else {
        workflow_faults_add(faults, "%s.%s: %s has no such member; there are %s", place,
            why_quote(name).text, whose, all);
    }
}

static void check_members(const char *place, const char *whose, const json_t *config,
    const struct config_member *members, struct workflow_faults *faults)
{
    char inner[CONFIG_PLACE_MAX];
    const char *key;
    size_t key_len;
    json_t *value;

    if (config && !json_is_object(config)) {
        workflow_faults_add(faults, "%s: expected an object", place);
        return;
    }
    for (const struct config_member *member = members; member->name; member++) {
        value = json_object_get(config, member->name);
        why_say(inner, sizeof(inner), "%s.%s", place, member->name);
        struct member_check check = {.member = member, .place = inner, .faults = faults};
        if (value) {
            check_member(&check, value);
        } else if (member->required) {
            workflow_faults_add(faults, "%s: %s needs it", inner, whose);
        }
    }
    json_object_keylen_foreach((json_t *)config, key, key_len, value)
    {
        const struct config_member *member = members;
        while (member->name && !span_equal(span_of(key, key_len), span_str(member->name))) {
            member++;
        }
        if (!member->name) {
            add_unknown(place, whose, span_of(key, key_len), members, faults);
        }
    }
}

void nodes_check(void *ctx, const char *place, const char *type, const json_t *config,
    struct workflow_faults *faults)
{
    const struct config_member *members = config_members(type);

    (void)ctx;
    if (members) {
        check_members(place, type, config, members, faults);
    } else if (config && !json_is_object(config)) {
        workflow_faults_add(faults, "%s: expected an object", place);
    }
}
