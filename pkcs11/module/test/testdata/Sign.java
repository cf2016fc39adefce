import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.Security;
import java.security.Signature;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Signs "hello" with every named key through SunPKCS11, in several threads at
 * once, while the collector runs and other processes are started, and prints
 * "signature KEY HEX" for each. Usage: Sign MODULE KEY...
 */
public final class Sign {
    private static final int THREADS = 8;
    private static final int TIMES = 5;

    public static void main(String[] args) throws Exception {
        Path settings = Files.createTempFile("sunpkcs11", ".cfg");
        Files.writeString(settings, "name=SignKit\nlibrary=" + args[0] + "\n");
        Provider provider = Security.getProvider("SunPKCS11").configure(settings.toString());
        Files.delete(settings);
        KeyStore store = KeyStore.getInstance("PKCS11", provider);
        store.load(null, "CONFIG".toCharArray());

        ExecutorService pool = Executors.newFixedThreadPool(THREADS);
        List<Future<?>> running = new ArrayList<>();
        for (int thread = 0; thread < THREADS; thread++) {
            String alias = args[1 + thread % (args.length - 1)];
            running.add(pool.submit((Callable<Void>) () -> {
                for (int i = 0; i < TIMES; i++) {
                    sign(store, provider, alias);
                }
                return null;
            }));
        }
        running.add(pool.submit((Callable<Void>) () -> {
            for (int i = 0; i < TIMES; i++) {
                System.gc();
                byte[] said = new ProcessBuilder("echo", "child").start().getInputStream().readAllBytes();
                if (!new String(said, StandardCharsets.US_ASCII).equals("child\n")) {
                    throw new IllegalStateException("a child process said " + new String(said, StandardCharsets.US_ASCII));
                }
            }
            return null;
        }));
        for (Future<?> future : running) {
            future.get();
        }
        pool.shutdown();
        provoke();
        sign(store, provider, args[1]);
    }

    private static void sign(KeyStore store, Provider provider, String alias) throws Exception {
        PrivateKey key = (PrivateKey) store.getKey(alias, null);
        boolean rsa = key.getAlgorithm().equals("RSA");
        Signature signature = Signature.getInstance(rsa ? "SHA256withRSA" : "SHA256withECDSA", provider);
        signature.initSign(key);
        signature.update("hello".getBytes(StandardCharsets.US_ASCII));
        StringBuilder line = new StringBuilder("signature " + alias + " ");
        for (byte b : signature.sign()) {
            line.append(String.format("%02x", b));
        }
        System.out.println(line);
    }

    /** The machine's own use of signals: a null pointer and a full stack become exceptions still. */
    private static void provoke() {
        int caught = 0;
        for (int i = 0; i < 200_000; i++) {
            try {
                Object nothing = i >= 0 ? null : new ByteArrayOutputStream();
                nothing.hashCode();
            } catch (NullPointerException expected) {
                caught++;
            }
        }
        try {
            deeper(0);
        } catch (StackOverflowError expected) {
            caught++;
        }
        if (caught != 200_001) {
            throw new IllegalStateException(caught + " exceptions");
        }
    }

    private static int deeper(int n) {
        return deeper(n + 1) + 1;
    }
}
