
/** Opens the shop's database and finds out what its tables of stock can hold. */
function onhand_open_shop($settings)
{
    $shop = onhand_find_shop($settings);
    foreach ($shop->sources as $number => $source) {
        $column = $shop->database->one(
            'SELECT DATA_TYPE AS type, COLUMN_TYPE AS whole_type FROM information_schema.COLUMNS
              WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND COLUMN_NAME = ?',
            array($source['table'], trim($source['quantity'], '`'))
        );
        if ($column === null) {
            throw new OnhandRefusal(503, 'The table ' . $source['table'] . ' with its quantities is missing: is this the right shop?');
        }
        $letters = $shop->database->one(
            'SELECT CHARACTER_SET_NAME AS letters, COLLATION_NAME AS collation_name FROM information_schema.COLUMNS
              WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND COLUMN_NAME = ?',
            array($source['table'], $source['sku'])
        );
        $shop->sources[$number]['letters'] = preg_replace('/\W/', '', (string) $letters['letters']);
        $shop->sources[$number]['collation'] = preg_replace('/\W/', '', (string) $letters['collation_name']);
        $limits = array('tinyint' => 127, 'smallint' => 32767, 'mediumint' => 8388607, 'float' => 16777216);
        $type = strtolower($column['type']);
        $shop->sources[$number]['max'] = isset($limits[$type]) ? $limits[$type] : 2147483647;
        $shop->sources[$number]['unsigned'] = stripos($column['whole_type'], 'unsigned') !== false;
    }
    return $shop;
}

/** What the settings say goes before what the shop's own file says. */
function onhand_access($settings, $found)
{
    foreach (array('host' => 'db_host', 'user' => 'db_user', 'password' => 'db_password', 'name' => 'db_name') as $ours => $setting) {
        if ($settings[$setting] !== '') {
            $found[$ours] = $settings[$setting];
        }
    }
    if (!isset($found['host'], $found['user'], $found['password'], $found['name']) || $found['name'] === '') {
        throw new OnhandRefusal(503, 'The shop\'s settings for its database were not found: upload this file beside the shop\'s index.php,'
            . ' or fill in db_host, db_user, db_password and db_name.');
    }
    return $found;
}

/** Table prefixes become part of statements; nothing but letters, digits and _ is let in. */
function onhand_prefix($settings, $found)
{
    $prefix = $settings['table_prefix'] !== '' ? $settings['table_prefix'] : $found;
    if (!preg_match('/^\w{0,40}$/D', $prefix)) {
        throw new OnhandRefusal(503, 'The table prefix may hold letters, digits and _ only.');
    }
    return $prefix;
}

function onhand_moment($seconds)
{
    return $seconds === null || (int) $seconds <= 0 ? null : gmdate('Y-m-d\TH:i:s\Z', (int) $seconds);
}

/** What a status means, by its number in the settings or else by its name. */
function onhand_order_state($settings, $id, $name)
{
    if (in_array((string) $id, array_map('strval', $settings['cancelled_statuses']), true)) {
        return 'cancelled';
    }
    if (in_array((string) $id, array_map('strval', $settings['shipped_statuses']), true)) {
        return 'shipped';
    }
    if (count($settings['cancelled_statuses']) === 0 && preg_match('/cancel|void|storn|annul|anul/i', $name)) {
        return 'cancelled';
    }
    if (count($settings['shipped_statuses']) === 0 && preg_match('/deliver|shipp(?!ing )|dispatch|complete|versand|livr/i', $name)) {
        return 'shipped';
    }
    return 'open';
}

/** Whether the lines that are there already add up to what the order says it holds, before or after tax. */
function onhand_adds_up($lines, $subtotal, $net, $gross)
{
    if ((int) $lines === 0 || $subtotal === null) {
        return false;
    }
    $rounding = 0.011 * (int) $lines + 0.001;
    return abs((float) $subtotal - (float) $net) <= $rounding || abs((float) $subtotal - (float) $gross) <= $rounding;
}
