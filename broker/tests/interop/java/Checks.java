import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.AtomicInteger;

/** One line a check. `client` names who is checked. */
class Checks {
    static final AtomicInteger failed = new AtomicInteger();
    static String client;

    interface Check { void run() throws Exception; }

    /** Checks that wait most of their time, some at once. */
    static final class Several {
        private final Map<String, Check> checks = new LinkedHashMap<>();

        void add(String what, Check check) { checks.put(what, check); }

        void run(int atOnce) throws InterruptedException {
            var pool = Executors.newFixedThreadPool(atOnce);
            checks.forEach((what, check) -> pool.execute(() -> check(what, check)));
            pool.shutdown();
            pool.awaitTermination(1, TimeUnit.HOURS);
        }
    }

    static void check(String what, Check check) {
        long began = System.currentTimeMillis();
        String line;
        try {
            check.run();
            line = String.format("ok   %s: %s (%.1f s)", client, what, (System.currentTimeMillis() - began) / 1000.0);
        } catch (Throwable error) {
            failed.incrementAndGet();
            line = String.format("FAIL %s: %s: %s", client, what, told(error));
        }
        System.out.println(line.replace('\n', ' '));
    }

    /** The error, what caused it, and where in these files it came up. */
    private static String told(Throwable error) {
        Throwable cause = error instanceof ExecutionException && error.getCause() != null ? error.getCause() : error;
        var lines = Arrays.stream(error.getStackTrace()).filter(frame -> frame.getFileName() != null && frame.getModuleName() == null && !frame.getClassName().contains("."))
            .filter(frame -> !frame.getClassName().equals("Checks")).limit(3).map(frame -> frame.getFileName() + ":" + frame.getLineNumber()).toList();
        return cause + (cause.getCause() == null ? "" : ", for " + cause.getCause()) + " " + lines;
    }

    static void same(Object found, Object wanted, String what) {
        if (Objects.equals(found, wanted)) return;
        String left = String.valueOf(found), right = String.valueOf(wanted);
        throw new AssertionError(what + ": " + left.substring(0, Math.min(400, left.length())) + " for " + right.substring(0, Math.min(400, right.length())));
    }

    interface Found { Object now() throws Exception; }

    /** Waits for it; a busy machine is given much time. */
    static void becomes(Found found, Object wanted, String what) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(90);
        while (true) {
            Object now = found.now();
            if (Objects.equals(now, wanted)) return;
            if (System.nanoTime() > end) same(now, wanted, "after 90 s, " + what);
            Thread.sleep(20);
        }
    }

    /** It fails with just this type, be it thrown or the cause of a future's failure. */
    static void fails(Class<?> wanted, Check check) throws Exception {
        try {
            check.run();
        } catch (AssertionError error) {
            throw error;
        } catch (Throwable error) {
            Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
            if (cause.getClass() != wanted) throw new AssertionError(cause + " for " + wanted.getSimpleName(), error);
            return;
        }
        throw new AssertionError("no " + wanted.getSimpleName());
    }

    static void end() { System.exit(failed.get() == 0 ? 0 : 1); }
}
