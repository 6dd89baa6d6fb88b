package io.github.hookmux;

import java.util.Collection;
import java.util.Locale;

/** Guesses what was meant. */
final class Nearest {
  private Nearest() {}

  /** {@code  (did you mean "x"?)} for the known word nearest to a wrong one, empty if none is near. */
  static String didYouMean(String wrong, Collection<String> known) {
    String best = of(wrong, known, Math.max(2, wrong.length() / 3));
    return best == null ? "" : " (did you mean \"" + best + "\"?)";
  }

  /** The nearest known word that is not further away than that; null if there is none. */
  static String of(String wrong, Collection<String> known, int furthest) {
    String best = null;
    int bestDistance = furthest + 1;
    for (String k : known) {
      int d = distance(wrong.toLowerCase(Locale.ROOT), k.toLowerCase(Locale.ROOT));
      if (d < bestDistance) {
        best = k;
        bestDistance = d;
      }
    }
    return best;
  }

  /** The Levenshtein distance. */
  private static int distance(String a, String b) {
    int[] row = new int[b.length() + 1];
    for (int j = 0; j < row.length; j++) {
      row[j] = j;
    }
    for (int i = 0; i < a.length(); i++) {
      int diagonal = row[0];
      row[0] = i + 1;
      for (int j = 0; j < b.length(); j++) {
        int cost = diagonal + (a.charAt(i) == b.charAt(j) ? 0 : 1);
        diagonal = row[j + 1];
        row[j + 1] = Math.min(cost, Math.min(row[j], diagonal) + 1);
      }
    }
    return row[b.length()];
  }
}
