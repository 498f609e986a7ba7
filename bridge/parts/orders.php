
define('ONHAND_ORDERS_MAX', 200);
/* An order younger than this may still be in the middle of the shop's checkout, which writes without transactions. */
define('ONHAND_SETTLE_S', 3);
/* Less than any two time zones differ, more than the clocks of two servers may. */
define('ONHAND_CLOCKS_DIFFER_S', 300);
/* All watched orders are looked at this often, the newest ones at every call. */
define('ONHAND_LOOK_S', 20);

/**
 * Orders that are new or look different since `since`, oldest change first. The shops keep no mark of changes, so the
 * bridge keeps a fingerprint of every watched order; whatever changes it (a status, a line, a quantity) gives the order
 * the next number, and that number is its revision and the mark.
 *
 * `complete` is false while a checkout under way may have taken pieces that no order shows yet. `unsettled` names the
 * items of orders so young that the shop may be taking their pieces at this moment: a quantity that is read now may or may
 * not lack them.
 */
function onhand_list_orders($shop, $since)
{
    if ($since !== null && !preg_match('/^\d{1,15}$/D', $since)) {
        throw new OnhandRefusal(400, 'since is none of this bridge.');
    }
    onhand_has_transactions($shop);
    $young = onhand_alone($shop->database, 'orders', function () use ($shop) {
        return onhand_look_at_orders($shop);
    });
    $found = $shop->database->rows(
        "SELECT order_id, seq FROM {$shop->prefix}onhand_bridge_orders WHERE seq > ? ORDER BY seq, order_id LIMIT ?",
        array((int) $since, ONHAND_ORDERS_MAX)
    );
    $seqs = array();
    $mark = $since === null ? '0' : $since;
    foreach ($found as $row) {
        $seqs[(int) $row['order_id']] = (int) $row['seq'];
        $mark = (string) $row['seq'];
    }
    $orders = array();
    $told = $shop->orders(array_keys($seqs));
    foreach ($seqs as $order_id => $seq) {
        if (isset($told[$order_id])) {
            $orders[] = array('revision' => $seq) + $told[$order_id];
        }
    }
    return array('orders' => $orders, 'mark' => $mark, 'complete' => $young['complete'], 'unsettled' => $young['keys']);
}

/** Compares the watched orders with their fingerprints and gives numbers to those that differ. */
function onhand_look_at_orders($shop)
{
    $table = $shop->prefix . 'onhand_bridge_orders';
    $facts = $shop->prefix . 'onhand_bridge_facts';
    $newest = $shop->database->one("SELECT MAX(order_id) AS id, UNIX_TIMESTAMP() AS now FROM $table");
    $now = (int) $newest['now'];
    $looked = array('whole' => 0, 'any' => 0);
    foreach ($shop->database->rows("SELECT name, value FROM $facts WHERE name IN ('orders looked at', 'new orders looked at')") as $row) {
        $looked[$row['name'] === 'orders looked at' ? 'whole' : 'any'] = (int) $row['value'];
    }
    $whole = $looked['whole'] <= $now - ONHAND_LOOK_S || $newest['id'] === null;
    $from = $whole ? $shop->first_watched_order() : max(0, (int) $newest['id'] - 50);
    $known = array();
    foreach ($shop->database->rows("SELECT order_id, fingerprint, born FROM $table WHERE order_id >= ?", array($from)) as $row) {
        $known[(int) $row['order_id']] = $row;
    }
    // All that is new has come up since then; at the very first look nobody knows.
    $new_since = $newest['id'] === null ? 0 : $looked['any'];
    $young = array('complete' => true, 'keys' => array());
    $different = array();
    foreach ($shop->order_heads($from) as $head) {
        $id = (int) $head['id'];
        $born = isset($known[$id]) ? (int) $known[$id]['born'] : onhand_born($head, $now, $new_since);
        if (onhand_age($head['age'], $born, $now) < ONHAND_SETTLE_S) {
            $young['complete'] = $young['complete'] && $head['whole'];
            $young['keys'] += array_fill_keys($head['keys'], true);
        }
        if ($head['told'] && (!isset($known[$id]) || $known[$id]['fingerprint'] !== $head['fingerprint'])) {
            $different[$id] = array($head['fingerprint'], $born);
        }
    }
    ksort($different);
    $seq = count($different) > 0 ? onhand_next_seq($shop, $table) : 0;
    foreach ($different as $id => $look) {
        $shop->database->run(
            "INSERT INTO $table (order_id, fingerprint, born, seq) VALUES (?, ?, ?, ?)
             ON DUPLICATE KEY UPDATE fingerprint = VALUES(fingerprint), seq = VALUES(seq)",
            array($id, $look[0], $look[1], $seq++)
        );
    }
    foreach ($whole ? array('orders looked at', 'new orders looked at') : array('new orders looked at') as $name) {
        $shop->database->run("INSERT INTO $facts (name, value) VALUES (?, ?) ON DUPLICATE KEY UPDATE value = VALUES(value)", array($name, $now));
    }
    if ($whole) {
        $shop->database->run("DELETE FROM $table WHERE order_id < ?", array($from));
    }
    $young['keys'] = array_map('strval', array_keys($young['keys']));
    return $young;
}

/**
 * When an order that is new came up, where its own time cannot be: a shop may write its times in another time zone than its
 * database has, and a young order must not pass for one of hours ago. 0: its own time will do.
 */
function onhand_born($head, $now, $new_since)
{
    $age = $head['age'];
    $can_be = $age !== null && $age >= -ONHAND_SETTLE_S && $age <= $now - $new_since + ONHAND_CLOCKS_DIFFER_S;
    return $can_be || !$head['zoned'] || $new_since === 0 ? 0 : $now;
}

/** Seconds; an order without a time, or of the future, must not be young for ever. */
function onhand_age($age, $born, $now)
{
    if ($born > 0) {
        return $now - $born;
    }
    return $age === null || $age < -ONHAND_SETTLE_S ? ONHAND_SETTLE_S : $age;
}

/** What was seen of orders, for the person who connects the shop. */
function onhand_order_notes($shop)
{
    $row = $shop->database->one(
        "SELECT COALESCE(SUM(born > 0), 0) AS odd FROM (SELECT born FROM {$shop->prefix}onhand_bridge_orders ORDER BY order_id DESC LIMIT 5) AS o"
    );
    // One may have been dated by hand.
    return (int) $row['odd'] < 2 ? array() : array('The shop writes the times of its orders in another time zone than its database has: fill in'
        . ' time_zone in the settings of the bridge, or orders are taken for hours older or younger than they are.');
}

/** The line's own SKU, or a name that tells the product where the shop has none: an order must not lose a line. */
function onhand_line_key($sku, $product_id)
{
    $sku = trim(onhand_clean($sku));
    return $sku === '' ? 'product ' . (int) $product_id . ' (no SKU)' : $sku;
}

/** Pieces of a line; a fraction stays one, so that the reader refuses the order instead of rounding it. */
function onhand_line_pieces($value)
{
    $pieces = onhand_pieces($value);
    return $pieces === null ? (float) $value : $pieces;
}
