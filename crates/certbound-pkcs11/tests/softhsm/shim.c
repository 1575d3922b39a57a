/*
 * A PKCS#11 module for tests. It passes each call to SoftHSM, except for the faults that files in its folder request. The
 * folder is the value of CERTBOUND_SHIM.
 *
 *   removed       the token is out: calls fail with CKR_DEVICE_REMOVED, and the sessions end
 *   hang-sign     C_Sign returns only when the file is gone
 *   hang-generate C_GenerateKeyPair returns only when the file is gone
 *   hang-load     C_Initialize returns only when the file is gone
 *   login-fails   C_Login fails with CKR_FUNCTION_FAILED, without a word about the PIN
 *   hang-login    C_Login returns only when the file is gone
 *   stale-key     C_SignInit fails with CKR_KEY_HANDLE_INVALID; the sessions stay open
 *   finalize      another part of the process calls C_Finalize, once
 *   sign-fails    C_SignInit fails with CKR_FUNCTION_FAILED; nothing is lost
 *   other-serial  the token has another serial number
 *   no-rsa        the token has no mechanism that signs by RSA
 *   no-ecdsa      the token has no mechanism that signs by ECDSA
 *   hardware      the slot says that it is hardware
 *   final-try     the token says that one wrong PIN more locks it
 *
 * The file `log` gets one letter for each login (L), each signature (S), each C_Sign that hangs (H) and each
 * generation of a key (G). `I` is an initialisation of the module, `O` is a session that was opened, and `C` a session that was closed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long rv;
typedef unsigned long word;

/* CK_FUNCTION_LIST of PKCS#11 2.40, with its functions by number. */
struct list {
	unsigned char version[2];
	void *function[68];
};

enum {
	INITIALIZE = 0, FINALIZE = 1, GET_FUNCTION_LIST = 3, GET_SLOT_LIST = 4, GET_SLOT_INFO = 5, GET_TOKEN_INFO = 6, GET_MECHANISM_LIST = 7,
	OPEN_SESSION = 12, CLOSE_SESSION = 13, CLOSE_ALL_SESSIONS = 14, GET_SESSION_INFO = 15, LOGIN = 18, FIND_OBJECTS_INIT = 26, SIGN_INIT = 42,
	SIGN = 43, GENERATE_KEY_PAIR = 59
};

static const rv DEVICE_REMOVED = 0x32, TOKEN_NOT_PRESENT = 0xe0;
static struct list real, ours;

static void path_of(char *path, size_t size, const char *name)
{
	const char *folder = getenv("CERTBOUND_SHIM");
	snprintf(path, size, "%s/%s", folder ? folder : "/nonexistent", name);
}

static int asked(const char *name)
{
	char path[4096];
	path_of(path, sizeof path, name);
	return access(path, F_OK) == 0;
}

static void note(const char *letter)
{
	char path[4096];
	path_of(path, sizeof path, "log");
	int file = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
	if (file >= 0) {
		if (write(file, letter, 1) != 1)
			abort();
		close(file);
	}
}

static void wait_while(const char *name)
{
	while (asked(name))
		usleep(2000);
}

/* Whether the token is out. Its sessions end then, as the specification demands. */
static int removed(void)
{
	word slots[16], count = 16, i;
	if (!asked("removed"))
		return 0;
	rv (*get)(unsigned char, word *, word *) = real.function[GET_SLOT_LIST];
	rv (*close_all)(word) = real.function[CLOSE_ALL_SESSIONS];
	if (get(1, slots, &count) == 0)
		for (i = 0; i < count; i++)
			close_all(slots[i]);
	return 1;
}

/* Ends the module once, as another part of the process can do. */
static void finalize_if_asked(void)
{
	char path[4096];
	path_of(path, sizeof path, "finalize");
	if (unlink(path) == 0)
		((rv (*)(void *))real.function[FINALIZE])(NULL);
}

static rv get_slot_list(unsigned char present, word *slots, word *count)
{
	finalize_if_asked();
	if (removed()) {
		*count = 0;
		return 0;
	}
	return ((rv (*)(unsigned char, word *, word *))real.function[GET_SLOT_LIST])(present, slots, count);
}

/* CK_SLOT_INFO and CK_TOKEN_INFO begin with 96 bytes of text; then come the flags. */
static rv get_slot_info(word slot, unsigned char *info)
{
	rv result = ((rv (*)(word, unsigned char *))real.function[GET_SLOT_INFO])(slot, info);
	if (result == 0 && asked("hardware"))
		*(word *)(info + 96) |= 4;
	return result;
}

static rv get_token_info(word slot, unsigned char *info)
{
	rv result = ((rv (*)(word, unsigned char *))real.function[GET_TOKEN_INFO])(slot, info);
	if (result == 0 && asked("final-try"))
		*(word *)(info + 96) |= 0x20000;
	if (result == 0 && asked("other-serial"))
		info[80] = '!';
	return result;
}

static rv get_mechanism_list(word slot, word *list, word *count)
{
	rv result = ((rv (*)(word, word *, word *))real.function[GET_MECHANISM_LIST])(slot, list, count);
	word i, kept = 0;
	if (result != 0 || !list)
		return result;
	for (i = 0; i < *count; i++) {
		word it = list[i];
		int rsa = it == 0x1 || it == 0xd || it == 0x40 || it == 0x43;
		int ecdsa = it >= 0x1041 && it <= 0x1047;
		if (!(rsa && asked("no-rsa")) && !(ecdsa && asked("no-ecdsa")))
			list[kept++] = it;
	}
	*count = kept;
	return 0;
}

/* Threads sign and close their sessions while the process ends. SoftHSM is gone after that, so the end waits for them. */
static pthread_mutex_t ending = PTHREAD_MUTEX_INITIALIZER;
static int exiting, busy;

static void begin_exit(void)
{
	int waited, left = 1;
	for (waited = 0; left && waited < 2000; waited++) {
		pthread_mutex_lock(&ending);
		exiting = 1;
		left = busy;
		pthread_mutex_unlock(&ending);
		if (left)
			usleep(1000);
	}
}

/* Begins a call. Returns 0 if the process ends. */
static int enter(void)
{
	int may_call;
	pthread_mutex_lock(&ending);
	may_call = !exiting;
	busy += may_call;
	pthread_mutex_unlock(&ending);
	return may_call;
}

static rv leave(rv result)
{
	pthread_mutex_lock(&ending);
	busy--;
	pthread_mutex_unlock(&ending);
	return result;
}

static const rv FUNCTION_FAILED = 0x6;

static rv initialize(void *arguments)
{
	wait_while("hang-load");
	rv result = ((rv (*)(void *))real.function[INITIALIZE])(arguments);
	/* What is registered last runs first: SoftHSM and its OpenSSL have registered their ends before. */
	if (result == 0) {
		note("I");
		atexit(begin_exit);
	}
	return result;
}

static rv open_session(word slot, word flags, void *application, void *notify, word *session)
{
	if (removed())
		return TOKEN_NOT_PRESENT;
	if (!enter())
		return FUNCTION_FAILED;
	rv result =
		((rv (*)(word, word, void *, void *, word *))real.function[OPEN_SESSION])(slot, flags, application, notify, session);
	if (result == 0)
		note("O");
	return leave(result);
}

static rv close_session(word session)
{
	if (!enter())
		return 0;
	note("C");
	return leave(((rv (*)(word))real.function[CLOSE_SESSION])(session));
}

static rv get_session_info(word session, void *info)
{
	if (removed())
		return DEVICE_REMOVED;
	if (!enter())
		return FUNCTION_FAILED;
	return leave(((rv (*)(word, void *))real.function[GET_SESSION_INFO])(session, info));
}

static rv login(word session, word user, unsigned char *pin, word length)
{
	note("L");
	wait_while("hang-login");
	if (asked("login-fails"))
		return 6;
	return ((rv (*)(word, word, unsigned char *, word))real.function[LOGIN])(session, user, pin, length);
}

static rv find_objects_init(word session, void *template, word count)
{
	if (removed())
		return DEVICE_REMOVED;
	if (!enter())
		return FUNCTION_FAILED;
	return leave(((rv (*)(word, void *, word))real.function[FIND_OBJECTS_INIT])(session, template, count));
}

static rv sign_init(word session, void *mechanism, word key)
{
	finalize_if_asked();
	if (removed())
		return DEVICE_REMOVED;
	if (asked("stale-key"))
		return 0x60;
	if (asked("sign-fails"))
		return FUNCTION_FAILED;
	if (!enter())
		return FUNCTION_FAILED;
	return leave(((rv (*)(word, void *, word))real.function[SIGN_INIT])(session, mechanism, key));
}

static rv sign(word session, unsigned char *data, word length, unsigned char *signature, word *size)
{
	if (asked("hang-sign"))
		note("H");
	wait_while("hang-sign");
	if (removed())
		return DEVICE_REMOVED;
	if (!enter())
		return FUNCTION_FAILED;
	if (signature)
		note("S");
	return leave(((rv (*)(word, unsigned char *, word, unsigned char *, word *))real.function[SIGN])(session, data, length, signature, size));
}

static rv generate_key_pair(word session, void *mechanism, void *public_template, word public_count, void *private_template,
	word private_count, word *public_key, word *private_key)
{
	note("G");
	wait_while("hang-generate");
	return ((rv (*)(word, void *, void *, word, void *, word, word *, word *))real.function[GENERATE_KEY_PAIR])(session,
		mechanism, public_template, public_count, private_template, private_count, public_key, private_key);
}

rv C_GetFunctionList(struct list **list)
{
	if (!real.function[0]) {
		void *library = dlopen(getenv("CERTBOUND_SHIM_OVER"), RTLD_NOW | RTLD_LOCAL);
		rv (*get)(struct list **) = library ? dlsym(library, "C_GetFunctionList") : NULL;
		struct list *found = NULL;
		if (!get || get(&found) != 0)
			return 5;
		real = ours = *found;
		ours.function[GET_FUNCTION_LIST] = C_GetFunctionList;
		ours.function[INITIALIZE] = initialize;
		ours.function[GET_SLOT_LIST] = get_slot_list;
		ours.function[GET_SLOT_INFO] = get_slot_info;
		ours.function[GET_TOKEN_INFO] = get_token_info;
		ours.function[GET_MECHANISM_LIST] = get_mechanism_list;
		ours.function[OPEN_SESSION] = open_session;
		ours.function[CLOSE_SESSION] = close_session;
		ours.function[GET_SESSION_INFO] = get_session_info;
		ours.function[LOGIN] = login;
		ours.function[FIND_OBJECTS_INIT] = find_objects_init;
		ours.function[SIGN_INIT] = sign_init;
		ours.function[SIGN] = sign;
		ours.function[GENERATE_KEY_PAIR] = generate_key_pair;
	}
	*list = &ours;
	return 0;
}
