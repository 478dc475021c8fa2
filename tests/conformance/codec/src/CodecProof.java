import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.TreeMap;
import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.Message;

/**
 * Proves our codec against the one Kafka generates: every message in every version, both ways.
 *
 * <p>Usage: {@code CodecProof PEER SCHEMA_FOLDER VALUES SEED}. For each message-version:
 * <ol>
 * <li>a message with every field at its default is the same bytes on both sides, or refused by both;
 * <li>what Kafka writes, we read and write the same, and without the unknown tagged fields if there are any;
 * <li>what we write of random bytes made from the message files, Kafka reads and writes the same;
 * <li>both sides see the same values in the same fields;
 * <li>a message read in this version is the same bytes when written in another one, or refused by both.
 * </ol>
 */
public final class CodecProof {
    /** For what is slower than bytes and needs fewer values: text, other versions. */
    private static final int FEWER = 40;

    private final Peer peer;
    private final int values;
    private final long seed;
    private final TreeMap<String, Integer> counts = new TreeMap<>();
    private int passed;
    private int failed;

    private CodecProof(Peer peer, int values, long seed) {
        this.peer = peer;
        this.values = values;
        this.seed = seed;
    }

    public static void main(String[] arguments) throws Exception {
        int failed;
        try (Peer peer = new Peer(arguments[0], arguments[1])) {
            CodecProof proof = new CodecProof(
                    peer, Integer.parseInt(arguments[2]), Long.parseLong(arguments[3]));
            proof.run();
            failed = proof.failed;
        }
        System.exit(failed == 0 ? 0 : 1);
    }

    /** Something that can be wrong. */
    private interface Check {
        void run() throws Exception;
    }

    private void run() throws Exception {
        List<Kind> kinds = new ArrayList<>();
        for (Peer.Item item : peer.ask('L', "", 0, 0, List.of())) {
            kinds.add(Kind.of(item.text()));
        }
        check("the list of messages", () -> checkList(kinds));
        for (Kind kind : kinds) {
            for (int version = kind.first; version <= kind.last; version++) {
                int each = version;
                String group = kind.isCoordinatorRecord ? "of coordinator records"
                        : kind.isRequestOrResponse() ? "of requests and responses" : "of headers and data messages";
                counts.merge(group, 1, Integer::sum);
                check(kind.name + " version " + version, () -> checkVersion(kind, each));
            }
        }
        Batches batches = new Batches(peer, seed, values);
        for (String what : batches.names()) {
            check("batches " + what, () -> batches.check(what));
        }
        counts.forEach((group, count) -> System.out.println(count + " message-versions " + group));
        System.out.println("codec: " + passed + " passed, " + failed + " failed");
    }

    private void check(String what, Check check) {
        try {
            check.run();
            passed++;
        } catch (Exception e) {
            failed++;
            System.out.println("FAIL " + what + " (seed " + seed + "): " + e.getMessage());
            if (!(e instanceof Difference)) {
                e.printStackTrace(System.out);
            }
        }
    }

    /** Kafka's requests are ours, in the same versions. */
    private static void checkList(List<Kind> kinds) throws Exception {
        for (Kind kind : kinds) {
            Difference.unless(kind.hasSameVersions(), () -> kind.name + " has other versions");
        }
        for (ApiMessageType type : ApiMessageType.values()) {
            if (type.lowestSupportedVersion() > type.highestSupportedVersion(true)) {
                continue;
            }
            for (String name : List.of(type.name + "Request", type.name + "Response")) {
                boolean isThere = kinds.stream().anyMatch(kind -> kind.name.equals(name)
                        && kind.first == type.lowestSupportedVersion()
                        && kind.last == type.highestSupportedVersion(true));
                Difference.unless(isThere, () -> name + " is not there in Kafka's versions");
            }
        }
    }

    private void checkVersion(Kind kind, int version) throws Exception {
        checkDefault(kind, version);
        checkTheirs(kind, version);
        checkOurs(kind, version);
        checkText(kind, version);
        checkOtherVersions(kind, version);
    }

    private Values randomValues(Kind kind, int version, String what) {
        return new Values(seed * 1_000_003 + (kind.name + version + what).hashCode());
    }

    private void checkDefault(Kind kind, int version) throws Exception {
        byte[] theirs = writeOrNull(kind, kind.create(), version);
        Peer.Item ours = peer.ask('D', kind.name, version, 0, List.of()).get(0);
        compare("the default", theirs, ours);
    }

    private void checkTheirs(Kind kind, int version) throws Exception {
        Values random = randomValues(kind, version, "theirs");
        List<byte[]> sent = new ArrayList<>();
        List<byte[]> expected = new ArrayList<>();
        for (int index = 0; index < values; index++) {
            Message message = random.value(kind, version, index);
            byte[] plain = writeOrNull(kind, message, version);
            if (plain == null) {
                // Only a default may have no form: a null where there must not be one.
                Difference.unless(index == 0, () -> "Kafka cannot write value " + message);
                continue;
            }
            sent.add(plain);
            expected.add(plain);
            if (kind.isFlexible(version) && index % 4 == 0) {
                random.addUnknownTags(message, kind.schema(version));
                sent.add(kind.write(message, version));
                expected.add(plain);
            }
        }
        List<Peer.Item> ours = peer.ask('R', kind.name, version, 0, sent);
        for (int i = 0; i < sent.size(); i++) {
            byte[] wanted = expected.get(i);
            compare("Kafka's value " + i, wanted, ours.get(i));
        }
    }

    private void checkOurs(Kind kind, int version) throws Exception {
        List<Peer.Item> pairs = peer.askFor('G', kind.name, version, seed, values);
        Difference.unless(pairs.size() == 2 * values, () -> "not all values were made");
        for (int i = 0; i < pairs.size(); i += 2) {
            String what = "our value " + i / 2;
            byte[] tagged = pairs.get(i).bytes();
            compare(what + " with unknown tags", kind.write(kind.read(tagged, version), version), pairs.get(i));
            Peer.Item ours = pairs.get(i + 1);
            Difference.unless(!ours.isRefused(), () -> what + ": " + ours.refusal());
            compare(what, kind.write(kind.read(ours.bytes(), version), version), ours);
        }
    }

    private void checkText(Kind kind, int version) throws Exception {
        Values random = randomValues(kind, version, "text");
        List<byte[]> sent = new ArrayList<>();
        for (int i = 0; i < FEWER; i++) {
            sent.add(kind.write(random.value(kind, version, Values.Mode.LETTERS), version));
        }
        List<Peer.Item> ours = peer.ask('S', kind.name, version, 0, sent);
        for (int i = 0; i < FEWER; i++) {
            Peer.Item item = ours.get(i);
            Difference.unless(!item.isRefused(), item::refusal);
            String theirs = Text.of(kind.name, kind.read(sent.get(i), version));
            Difference.unless(theirs.equals(item.text()), () -> "Kafka sees\n" + theirs + "\nand we\n" + item.text());
        }
    }

    private void checkOtherVersions(Kind kind, int version) throws Exception {
        int count = kind.last - kind.first;
        Values random = randomValues(kind, version, "other");
        for (int other = kind.first; other <= kind.last; other++) {
            if (other == version) {
                continue;
            }
            List<byte[]> sent = new ArrayList<>();
            for (int i = 0; i < Math.max(FEWER / count, 3); i++) {
                Values.Mode mode = i == 0 ? Values.Mode.EMPTY : Values.Mode.LETTERS;
                sent.add(kind.write(random.value(kind, version, mode), version));
            }
            List<Peer.Item> ours = peer.ask('T', kind.name, version, other, sent);
            for (int i = 0; i < sent.size(); i++) {
                byte[] theirs = writeOrNull(kind, kind.read(sent.get(i), version), other);
                compare("value " + i + " written in version " + other, theirs, ours.get(i));
            }
        }
    }

    /** The message's bytes, or null when Kafka refuses to write it in this version. */
    private static byte[] writeOrNull(Kind kind, Message message, int version) {
        try {
            return kind.write(message, version);
        } catch (UnsupportedVersionException | NullPointerException e) {
            return null;
        }
    }

    private static void compare(String what, byte[] theirs, Peer.Item ours) throws Difference {
        if (theirs == null) {
            Difference.unless(ours.isRefused(), () -> what + ": Kafka refuses it, we write\n" + hex(ours.bytes()));
            return;
        }
        Difference.unless(!ours.isRefused(), () -> what + ": we refuse it: " + ours.refusal() + "\n" + hex(theirs));
        Difference.unless(Arrays.equals(theirs, ours.bytes()),
                () -> what + ": Kafka writes\n" + hex(theirs) + "\nand we\n" + hex(ours.bytes()));
    }

    private static String hex(byte[] bytes) {
        return HexFormat.of().formatHex(bytes, 0, Math.min(bytes.length, 2000));
    }
}
