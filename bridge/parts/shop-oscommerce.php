
/** Runs the shop's own settings, which only define names, in a scope of its own; whatever they print is thrown away. */
function onhand_find_shop($settings)
{
    $found = array();
    $prefix = '';
    if ($settings['db_name'] === '') {
        $folder = dirname(__FILE__) . '/includes/';
        foreach (array('local/configure.php', 'configure.php') as $file) {
            if (is_file($folder . $file)) {
                onhand_run_configuration($folder . $file);
            }
            if (defined('DB_DATABASE')) {
                break;
            }
        }
        @ini_set('display_errors', '0');
        if (defined('DB_SERVER') && defined('DB_SERVER_USERNAME') && defined('DB_SERVER_PASSWORD') && defined('DB_DATABASE')) {
            $found = array(
                'host' => (string) constant('DB_SERVER'),
                'user' => (string) constant('DB_SERVER_USERNAME'),
                'password' => (string) constant('DB_SERVER_PASSWORD'),
                'name' => (string) constant('DB_DATABASE'),
            );
        }
    }
    foreach (array('DB_PREFIX', 'DB_TABLE_PREFIX') as $name) {
        $prefix = defined($name) && $prefix === '' ? (string) constant($name) : $prefix;
    }
    $database = new OnhandDatabase(onhand_access($settings, $found), $settings);
    return new OnhandOsCommerceShop($database, onhand_prefix($settings, $prefix), $settings);
}

function onhand_run_configuration($onhand_file)
{
    // Phoenix finds its own folder by the name of the script that was called, which lies in the same one as this file.
    include_once $onhand_file;
}

class OnhandOsCommerceShop
{
    public $database;
    public $prefix;
    public $family = 'oscommerce';
    public $version;
    public $sources;
    private $settings;

    public function __construct($database, $prefix, $settings)
    {
        $this->database = $database;
        $this->prefix = $prefix;
        $this->settings = $settings;
        $this->version = $this->find_version();
        $this->sources = array(array(
            'name' => 'product',
            'table' => $prefix . 'products',
            'id' => 'products_id',
            'sku' => 'products_model',
            'quantity' => 'products_quantity',
            'shown' => 'products_status',
            'shown_value' => 1,
            'hidden_value' => 0,
            'select' => "SELECT products_id AS id, products_model AS sku, products_quantity AS quantity FROM {$prefix}products WHERE 1 = 1",
        ));
    }

    private function find_version()
    {
        $folder = dirname(__FILE__) . '/includes/';
        if (is_file($folder . 'version.php')) {
            $text = trim((string) file_get_contents($folder . 'version.php', false, null, 0, 4000));
            if (preg_match('/^\d+(\.\d+)+/', $text, $match)) {
                return (strpos($text, '2.') === 0 ? 'osCommerce ' : 'CE Phoenix ') . $match[0];
            }
            if (preg_match('/PROJECT_VERSION_MAJOR\'\s*,\s*\'([^\']{1,20})\'.*PROJECT_VERSION_MINOR\'\s*,\s*\'([^\']{1,20})\'/s', $text, $match)) {
                return 'Zen Cart ' . $match[1] . '.' . $match[2];
            }
        }
        return is_file(dirname(__FILE__) . '/includes/system/versioned.php') || is_dir($folder . 'system/versioned') ? 'CE Phoenix' : 'osCommerce or a relative';
    }

    /** Sentences about what the shop does itself, for the person who connects it. */
    public function notes()
    {
        $p = $this->prefix;
        $notes = array();
        $switches = array();
        foreach ($this->database->rows("SELECT configuration_key AS name, configuration_value AS value FROM {$p}configuration
            WHERE configuration_key IN ('STOCK_LIMITED', 'STOCK_ALLOW_CHECKOUT', 'STOCK_CHECK')") as $row) {
            $switches[$row['name']] = strtolower(trim($row['value']));
        }
        if (isset($switches['STOCK_LIMITED']) && $switches['STOCK_LIMITED'] !== 'true') {
            $notes[] = 'The shop does not take its own sales from its stock: set "Subtract stock" to true under Configuration, Stock, or every sale will look like a difference.';
        }
        if (isset($switches['STOCK_ALLOW_CHECKOUT']) && $switches['STOCK_ALLOW_CHECKOUT'] === 'false') {
            $notes[] = 'The shop hides a product that sells out ("Allow checkout" is off), and shows it again only when somebody or a rule says so.';
        }
        $hidden = $this->database->one("SELECT COUNT(*) AS items FROM {$p}products WHERE products_status = 0 AND products_quantity > 0");
        if ((int) $hidden['items'] > 0) {
            $notes[] = (int) $hidden['items'] . ' products are hidden although they have stock.';
        }
        return $notes;
    }

    public function first_watched_order()
    {
        $row = $this->database->one(
            "SELECT COALESCE(MIN(orders_id), 0) AS id FROM {$this->prefix}orders WHERE date_purchased >= NOW() - INTERVAL ? DAY",
            array((int) $this->settings['watch_days'])
        );
        return (int) $row['id'];
    }

    /** This family takes the pieces of a line before the line is there to be seen. */
    public function order_heads($from)
    {
        $p = $this->prefix;
        $rows = $this->database->rows(
            "SELECT o.orders_id AS id, o.orders_status AS status, UNIX_TIMESTAMP() - UNIX_TIMESTAMP(o.date_purchased) AS age,
                    COUNT(op.orders_products_id) AS line_count,
                    COALESCE(SUM(CRC32(CONCAT_WS('|', op.orders_products_id, COALESCE(op.products_model, ''), op.products_quantity))), 0) AS line_sum,
                    SUM(op.final_price * op.products_quantity) AS net,
                    SUM(op.final_price * op.products_quantity * (1 + op.products_tax / 100)) AS gross,
                    (SELECT MIN(t.value) FROM {$p}orders_total t WHERE t.orders_id = o.orders_id AND t.class = 'ot_subtotal') AS subtotal,
                    GROUP_CONCAT(DISTINCT op.products_model SEPARATOR '\\n') AS models
               FROM {$p}orders o LEFT JOIN {$p}orders_products op ON op.orders_id = o.orders_id
              WHERE o.orders_id >= ? GROUP BY o.orders_id, o.orders_status, o.date_purchased ORDER BY o.orders_id",
            array($from)
        );
        $heads = array();
        foreach ($rows as $row) {
            $heads[] = array(
                'id' => $row['id'],
                'age' => $row['age'] === null ? null : (int) $row['age'],
                'zoned' => true,
                'told' => true,
                'whole' => onhand_adds_up($row['line_count'], $row['subtotal'], $row['net'], $row['gross']),
                'keys' => $row['models'] === null ? array() : array_map('onhand_clean', explode("\n", $row['models'])),
                'fingerprint' => sha1($row['status'] . '|' . $row['line_count'] . '|' . $row['line_sum']),
            );
        }
        return $heads;
    }

    /** @return array id => order, in the words of the hub */
    public function orders($ids)
    {
        if (count($ids) === 0) {
            return array();
        }
        $p = $this->prefix;
        $orders = array();
        $names = $this->status_names();
        foreach ($this->database->rows(
            "SELECT orders_id AS id, orders_status AS status, UNIX_TIMESTAMP(date_purchased) AS placed FROM {$p}orders WHERE orders_id IN (?)",
            array($ids)
        ) as $row) {
            $orders[(int) $row['id']] = array(
                'number' => (string) $row['id'],
                'placedAt' => onhand_moment($row['placed']),
                'state' => onhand_order_state($this->settings, $row['status'], isset($names[$row['status']]) ? $names[$row['status']] : ''),
                'lines' => array(),
            );
        }
        foreach ($this->database->rows(
            "SELECT orders_id, orders_products_id AS line, products_id, products_model AS sku, products_name AS title, products_quantity AS quantity
               FROM {$p}orders_products WHERE orders_id IN (?) ORDER BY orders_products_id",
            array($ids)
        ) as $row) {
            if (isset($orders[(int) $row['orders_id']])) {
                $orders[(int) $row['orders_id']]['lines'][] = array(
                    'line' => (string) $row['line'],
                    'key' => onhand_line_key($row['sku'], $row['products_id']),
                    'quantity' => onhand_line_pieces($row['quantity']),
                    'title' => onhand_clean($row['title']),
                );
            }
        }
        return $orders;
    }

    /** @return array number => name, in whichever language comes first */
    public function status_names()
    {
        $names = array();
        foreach ($this->database->rows("SELECT orders_status_id AS id, orders_status_name AS name FROM {$this->prefix}orders_status ORDER BY language_id DESC") as $row) {
            $names[$row['id']] = onhand_clean($row['name']);
        }
        return $names;
    }

    public function set_order_status($number, $status)
    {
        $p = $this->prefix;
        $this->database->run("UPDATE {$p}orders SET orders_status = ?, last_modified = NOW() WHERE orders_id = ?", array((int) $status, (int) $number));
        $this->database->run(
            "INSERT INTO {$p}orders_status_history (orders_id, orders_status_id, date_added, customer_notified, comments) VALUES (?, ?, NOW(), 0, '')",
            array((int) $number, (int) $status)
        );
    }

    /** Customer and money of orders, for SETI alone: a hub of stock has no business with them and never asks. */
    public function order_details($ids)
    {
        $p = $this->prefix;
        $details = array();
        foreach ($this->database->rows("SELECT * FROM {$p}orders WHERE orders_id IN (?)", array($ids)) as $row) {
            $details[(int) $row['orders_id']] = array(
                'billing' => $this->address($row, 'billing') + array('phone' => $row['customers_telephone'], 'email' => $row['customers_email_address']),
                'shipping' => $this->address($row, 'delivery') + array('phone' => $row['customers_telephone'], 'email' => $row['customers_email_address']),
                'payment' => $row['payment_method'],
                'customer' => $row['customers_id'],
                'comment' => '',
                'prices' => array(),
                'totals' => array(),
            );
        }
        foreach ($this->database->rows("SELECT orders_id, orders_products_id AS line, final_price AS price FROM {$p}orders_products WHERE orders_id IN (?)", array($ids)) as $row) {
            $details[(int) $row['orders_id']]['prices'][$row['line']] = (float) $row['price'];
        }
        $kinds = array('ot_subtotal' => 'products', 'ot_shipping' => 'shipping', 'ot_tax' => 'tax', 'ot_total' => 'grand', 'ot_coupon' => 'discount', 'ot_discount' => 'discount');
        foreach ($this->database->rows("SELECT orders_id, class, value FROM {$p}orders_total WHERE orders_id IN (?)", array($ids)) as $row) {
            if (isset($kinds[$row['class']], $details[(int) $row['orders_id']])) {
                $totals = &$details[(int) $row['orders_id']]['totals'];
                $kind = $kinds[$row['class']];
                $totals[$kind] = (isset($totals[$kind]) ? $totals[$kind] : 0) + (float) $row['value'];
                unset($totals);
            }
        }
        foreach ($this->database->rows("SELECT orders_id, comments FROM {$p}orders_status_history WHERE orders_id IN (?) ORDER BY orders_status_history_id DESC", array($ids)) as $row) {
            $details[(int) $row['orders_id']]['comment'] = (string) $row['comments'];
        }
        return $details;
    }

    private function address($row, $kind)
    {
        return array(
            'name' => $row[$kind . '_name'],
            'company' => (string) $row[$kind . '_company'],
            'street' => $row[$kind . '_street_address'],
            'street2' => (string) $row[$kind . '_suburb'],
            'city' => $row[$kind . '_city'],
            'state' => (string) $row[$kind . '_state'],
            'code' => $row[$kind . '_postcode'],
            'country' => $row[$kind . '_country'],
        );
    }

    /** @return array items for SETI's downloadprods: id => name, price, weight, shown */
    public function product_details($ids)
    {
        $p = $this->prefix;
        $found = array();
        foreach ($this->database->rows(
            "SELECT p.products_id AS id, p.products_price AS price, p.products_weight AS weight, p.products_status AS shown,
                    (SELECT MIN(d.products_name) FROM {$p}products_description d WHERE d.products_id = p.products_id) AS name
               FROM {$p}products p WHERE p.products_id IN (?)",
            array($ids)
        ) as $row) {
            $found['0:' . $row['id']] = $row;
        }
        return $found;
    }

    public function count_customers()
    {
        $row = $this->database->one("SELECT COUNT(*) AS customers FROM {$this->prefix}customers");
        return (int) $row['customers'];
    }

    public function customers($offset, $count)
    {
        $p = $this->prefix;
        $customers = array();
        foreach ($this->database->rows(
            "SELECT c.customers_id AS id, c.customers_firstname AS firstname, c.customers_lastname AS lastname, c.customers_email_address AS email,
                    c.customers_telephone AS phone, a.entry_company AS company, a.entry_street_address AS street, a.entry_suburb AS street2,
                    a.entry_city AS city, a.entry_state AS state, a.entry_postcode AS code
               FROM {$p}customers c LEFT JOIN {$p}address_book a ON a.address_book_id = c.customers_default_address_id
              ORDER BY c.customers_id LIMIT ?, ?",
            array($offset, $count)
        ) as $row) {
            $customers[] = $row + array('name' => trim($row['firstname'] . ' ' . $row['lastname']), 'country' => '');
        }
        return $customers;
    }
}
