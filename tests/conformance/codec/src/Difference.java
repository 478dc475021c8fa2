import java.util.function.Supplier;

/** Both sides do not agree. */
final class Difference extends Exception {
    private Difference(String message) {
        super(message);
    }

    static void unless(boolean holds, Supplier<String> message) throws Difference {
        if (!holds) {
            throw new Difference(message.get());
        }
    }
}
